"""Orthonormal trigonometric transforms along one axis: scipy.fft called, nothing else."""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from checks import check_axis, check_input, check_type


def _check(x: NDArray, axis: int, dtype: str = "float", values: bool = True) -> None:
    check_input(x, dtype=dtype, values=values)
    check_axis(axis, x.ndim)


def dct(x: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """X_k = sum_n C_kn x_n, the orthonormal DCT of type I to IV (Ahmed et al. 1974; Wang 1984), x of any shape."""
    _check(x, axis)
    check_type(type, x.shape[axis])
    return np.asarray(scipy.fft.dct(x, type, axis=axis, norm="ortho", orthogonalize=True))


def idct(y: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """x_n = sum_k C_kn X_k, the inverse of `dct` of the same type."""
    _check(y, axis, values=False)
    check_type(type, y.shape[axis])
    return np.asarray(scipy.fft.idct(y, type, axis=axis, norm="ortho", orthogonalize=True))


def dst(x: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """X_k = sum_n S_kn x_n, the orthonormal DST of type I to IV (Jain 1976; Wang 1984), x of any shape."""
    _check(x, axis)
    check_type(type, x.shape[axis], "sin")
    return np.asarray(scipy.fft.dst(x, type, axis=axis, norm="ortho", orthogonalize=True))


def idst(y: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """x_n = sum_k S_kn X_k, the inverse of `dst` of the same type."""
    _check(y, axis, values=False)
    check_type(type, y.shape[axis], "sin")
    return np.asarray(scipy.fft.idst(y, type, axis=axis, norm="ortho", orthogonalize=True))


def dft(x: NDArray, axis: int = -1) -> NDArray:
    """X_k = n^(-1/2) sum_t x_t exp(-2 pi i k t / n), x real or complex: the unitary DFT (Mallat 2009, 3.3.2)."""
    _check(x, axis, "float|complex")
    return np.asarray(scipy.fft.fft(x, axis=axis, norm="ortho"))


def idft(y: NDArray, axis: int = -1) -> NDArray:
    """x_t = n^(-1/2) sum_k X_k exp(2 pi i k t / n), complex, the inverse of `dft`."""
    _check(y, axis, "float|complex", values=False)
    return np.asarray(scipy.fft.ifft(y, axis=axis, norm="ortho"))


def dht(x: NDArray, axis: int = -1) -> NDArray:
    """H_k = Re X_k - Im X_k of the unitary DFT X of a real x: the discrete Hartley transform (Bracewell 1983)."""
    _check(x, axis)
    spectrum = scipy.fft.fft(x, axis=axis, norm="ortho")
    return np.asarray(spectrum.real - spectrum.imag)


def idht(y: NDArray, axis: int = -1) -> NDArray:
    """x = dht(H): the Hartley transform is symmetric and orthonormal, so it is its own inverse."""
    _check(y, axis, values=False)
    spectrum = scipy.fft.fft(y, axis=axis, norm="ortho")
    return np.asarray(spectrum.real - spectrum.imag)
