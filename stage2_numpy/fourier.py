"""The trigonometric transforms from their definition: an orthonormal basis matrix, applied along one axis."""

import numpy as np
from numpy.typing import NDArray

from checks import check_axis, check_input, check_type

SHIFTS = {  # (wave, type) -> (a, b, p) of T_ki ~ wave(pi (k + a) (i + b) / (n + p))
    ("cos", 1): (0.0, 0.0, -1),
    ("cos", 2): (0.0, 0.5, 0),
    ("cos", 3): (0.5, 0.0, 0),
    ("cos", 4): (0.5, 0.5, 0),
    ("sin", 1): (1.0, 1.0, 1),
    ("sin", 2): (1.0, 0.5, 0),
    ("sin", 3): (0.5, 1.0, 0),
    ("sin", 4): (0.5, 0.5, 0),
}


def along(matrix: NDArray, x: NDArray, axis: int) -> NDArray:
    """matrix (m, n) applied to every line of x along `axis`, in the precision of x."""
    dtype = np.result_type(x.dtype, np.complex64) if np.iscomplexobj(matrix) else x.dtype
    return np.moveaxis(np.tensordot(matrix.astype(dtype), x, (1, axis)), 0, axis)


def ends(n: int, shift: float, period: int) -> NDArray:
    """sqrt(1/2) where the shifted index 0 + shift, ..., n - 1 + shift is 0 or the period, else 1."""
    at = np.arange(n) + shift
    return np.where((at == 0) | (at == period), np.sqrt(0.5), 1.0)


def trig_basis(n: int, wave: str, type: int) -> NDArray:
    """T (n, n), T_ki = e_k e_i sqrt(2/P) wave(pi (k+a) (i+b) / P), the eight orthonormal DCT and DST matrices.

    wave is "cos" or "sin"; a, b and P = n + p as in SHIFTS; e as in `ends` (Wang 1984; Strang 1999, section 3).
    """
    a, b, p = SHIFTS[wave, type]
    k, i = np.ogrid[:n, :n]
    quarter = (2 * k + round(2 * a)) * (2 * i + round(2 * b)) % (8 * (n + p))  # integers, so exact at any size
    angle = np.pi * quarter / (4 * (n + p))
    t = np.sqrt(2 / (n + p)) * (np.cos(angle) if wave == "cos" else np.sin(angle))
    return t * ends(n, a, n + p)[:, None] * ends(n, b, n + p)


def dft_basis(n: int) -> NDArray:
    """F (n, n), F_kt = n^(-1/2) exp(-2 pi i k t / n), unitary and symmetric."""
    k, t = np.ogrid[:n, :n]
    return np.exp(-2j * np.pi * (k * t % n) / n) / np.sqrt(n)


def dht_basis(n: int) -> NDArray:
    """H (n, n), H_kt = n^(-1/2) cas(2 pi k t / n), cas = cos + sin, orthonormal and symmetric (Bracewell 1983)."""
    k, t = np.ogrid[:n, :n]
    angle = 2 * np.pi * (k * t % n) / n
    return (np.cos(angle) + np.sin(angle)) / np.sqrt(n)


def _check(x: NDArray, axis: int, dtype: str = "float", values: bool = True) -> None:
    check_input(x, dtype=dtype, values=values)
    check_axis(axis, x.ndim)


def dct(x: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """X = C x along `axis`, C orthonormal of type I to IV."""
    _check(x, axis)
    check_type(type, x.shape[axis])
    return along(trig_basis(x.shape[axis], "cos", type), x, axis)


def idct(y: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """x = C^T X along `axis`: C is orthonormal, so its inverse is its transpose."""
    _check(y, axis, values=False)
    check_type(type, y.shape[axis])
    return along(trig_basis(y.shape[axis], "cos", type).T, y, axis)


def dst(x: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """X = S x along `axis`, S orthonormal of type I to IV."""
    _check(x, axis)
    check_type(type, x.shape[axis], "sin")
    return along(trig_basis(x.shape[axis], "sin", type), x, axis)


def idst(y: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """x = S^T X along `axis`."""
    _check(y, axis, values=False)
    check_type(type, y.shape[axis], "sin")
    return along(trig_basis(y.shape[axis], "sin", type).T, y, axis)


def dft(x: NDArray, axis: int = -1) -> NDArray:
    """X = F x along `axis`, complex, of a real or complex x."""
    _check(x, axis, "float|complex")
    return along(dft_basis(x.shape[axis]), x, axis)


def idft(y: NDArray, axis: int = -1) -> NDArray:
    """x = F^H X along `axis`, complex: F is unitary and symmetric, so its inverse is its conjugate."""
    _check(y, axis, "float|complex", values=False)
    return along(dft_basis(y.shape[axis]).conj(), y, axis)


def dht(x: NDArray, axis: int = -1) -> NDArray:
    """X = H x along `axis`, real: what a layer can train where the DFT would need complex numbers."""
    _check(x, axis)
    return along(dht_basis(x.shape[axis]), x, axis)


def idht(y: NDArray, axis: int = -1) -> NDArray:
    """x = H X along `axis`: H is its own inverse."""
    _check(y, axis, values=False)
    return along(dht_basis(y.shape[axis]), y, axis)
