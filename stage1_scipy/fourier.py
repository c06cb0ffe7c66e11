"""Orthonormal trigonometric transforms along one axis: scipy.fft called, nothing else."""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from contract import check_axis, check_input, need


def _check(x: NDArray, type: int, axis: int, values: bool = True) -> None:
    check_input(x, values=values)
    check_axis(axis, x.ndim)
    need(type in (1, 2, 3, 4), "type", type, "1, 2, 3 or 4")
    need(type != 1 or x.shape[axis] >= 2, "x.shape[axis]", x.shape[axis], "at least 2 for the DCT of type 1")


def dct(x: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """X_k = sum_n C_kn x_n, the orthonormal DCT of type I to IV (Ahmed et al. 1974; Wang 1984), x of any shape."""
    _check(x, type, axis)
    return np.asarray(scipy.fft.dct(x, type, axis=axis, norm="ortho", orthogonalize=True))


def idct(y: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """x_n = sum_k C_kn X_k, the inverse of `dct` of the same type."""
    _check(y, type, axis, values=False)
    return np.asarray(scipy.fft.idct(y, type, axis=axis, norm="ortho", orthogonalize=True))
