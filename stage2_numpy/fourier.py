"""The trigonometric transforms from their definition: an orthonormal basis matrix, applied along one axis."""

import numpy as np
from numpy.typing import NDArray

from contract import check_axis, check_input, need


def along(matrix: NDArray, x: NDArray, axis: int) -> NDArray:
    """matrix (m, n) applied to every line of x along `axis`, in the dtype of x."""
    return np.moveaxis(np.tensordot(matrix.astype(x.dtype), x, (1, axis)), 0, axis)


def dct_basis(n: int, type: int) -> NDArray:
    """The orthonormal matrix C (n, n) with dct(x) = C x, in float64 (Wang 1984; Strang 1999, section 3)."""
    k, i = np.ogrid[:n, :n]
    if type == 1:
        end = np.where((np.arange(n) == 0) | (np.arange(n) == n - 1), np.sqrt(0.5), 1.0)
        return end[:, None] * end * np.sqrt(2 / (n - 1)) * np.cos(np.pi * k * i / (n - 1))
    if type == 4:
        return np.sqrt(2 / n) * np.cos(np.pi * (2 * k + 1) * (2 * i + 1) / (4 * n))
    c = np.sqrt(2 / n) * np.cos(np.pi * k * (2 * i + 1) / (2 * n))
    c[0] *= np.sqrt(0.5)
    return c if type == 2 else c.T


def _check(x: NDArray, type: int, axis: int, values: bool = True) -> None:
    check_input(x, values=values)
    check_axis(axis, x.ndim)
    need(type in (1, 2, 3, 4), "type", type, "1, 2, 3 or 4")
    need(type != 1 or x.shape[axis] >= 2, "x.shape[axis]", x.shape[axis], "at least 2 for the DCT of type 1")


def dct(x: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """X = C x along `axis`, C orthonormal of type I to IV."""
    _check(x, type, axis)
    return along(dct_basis(x.shape[axis], type), x, axis)


def idct(y: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """x = C^T X along `axis`: C is orthonormal, so its inverse is its transpose."""
    _check(y, type, axis, values=False)
    return along(dct_basis(y.shape[axis], type).T, y, axis)
