"""The trigonometric transforms from their definition: an orthonormal basis matrix, applied along one axis."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from arrays import COMPLEX, FLOATS, check_array, narrow
from checks import check_axis, check_type

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
    index = np.arange(n) + shift
    return np.where((index == 0) | (index == period), np.sqrt(0.5), 1.0)


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


def _check(x: NDArray, axis: int, dtypes: Sequence[str] = FLOATS, values: bool = True) -> NDArray:
    """Return x as it is computed; refuse what has no such axis or cannot be transformed."""
    y = check_array(x, dtypes=dtypes, values=values)
    check_axis(axis, y.ndim)
    return y


def dct(x: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """X = C x along `axis`, C orthonormal of type I to IV.

    Args:
        x: floats of any shape.
        type: 1 to 4.
        axis: along which axis; the others are batch axes.

    Returns:
        The coefficients, in the shape of x.

    Raises:
        ValueError: x, type or axis cannot be used; the sentence says which.

    Example:
        >>> dct(np.array([3.0, 1.0])).round(6)  # (3 + 1, 3 - 1) / sqrt 2
        array([2.828427, 1.414214])
    """
    z = _check(x, axis)
    check_type(type, x.shape[axis])
    return narrow(along(trig_basis(x.shape[axis], "cos", type), z, axis), x.dtype)


def idct(y: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """x = C^T X along `axis`: C is orthonormal, so its inverse is its transpose.

    Args:
        y: coefficients of any shape.
        type: that of `dct`.
        axis: that of `dct`.

    Returns:
        The signal, in the shape of y.

    Raises:
        ValueError: y, type or axis cannot be used; the sentence says which.

    Example:
        >>> idct(dct(np.array([3.0, 1.0]))).round(6)
        array([3., 1.])
    """
    z = _check(y, axis, values=False)
    check_type(type, y.shape[axis])
    return narrow(along(trig_basis(y.shape[axis], "cos", type).T, z, axis), y.dtype)


def dst(x: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """X = S x along `axis`, S orthonormal of type I to IV.

    Args:
        x: floats of any shape.
        type: 1 to 4.
        axis: along which axis; the others are batch axes.

    Returns:
        The coefficients, in the shape of x.

    Raises:
        ValueError: x, type or axis cannot be used; the sentence says which.

    Example:
        >>> dst(np.array([3.0, 1.0])).round(6)  # (3 + 1, 3 - 1) / sqrt 2
        array([2.828427, 1.414214])
    """
    z = _check(x, axis)
    check_type(type, x.shape[axis], "sin")
    return narrow(along(trig_basis(x.shape[axis], "sin", type), z, axis), x.dtype)


def idst(y: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """x = S^T X along `axis`, the inverse of `dst`.

    Args:
        y: coefficients of any shape.
        type: that of `dst`.
        axis: that of `dst`.

    Returns:
        The signal, in the shape of y.

    Raises:
        ValueError: y, type or axis cannot be used; the sentence says which.

    Example:
        >>> idst(dst(np.array([3.0, 1.0]))).round(6)
        array([3., 1.])
    """
    z = _check(y, axis, values=False)
    check_type(type, y.shape[axis], "sin")
    return narrow(along(trig_basis(y.shape[axis], "sin", type).T, z, axis), y.dtype)


def dft(x: NDArray, axis: int = -1) -> NDArray:
    """X = F x along `axis`, F unitary.

    Args:
        x: floats or complex numbers of any shape.
        axis: along which axis; the others are batch axes.

    Returns:
        Complex coefficients, in the shape of x.

    Raises:
        ValueError: x or axis cannot be used; the sentence says which.

    Example:
        >>> abs(dft(np.ones(4))).round(6)
        array([2., 0., 0., 0.])
    """
    z = _check(x, axis, (*FLOATS, *COMPLEX))
    return narrow(along(dft_basis(x.shape[axis]), z, axis), x.dtype)


def idft(y: NDArray, axis: int = -1) -> NDArray:
    """x = F^H X along `axis`: F is unitary and symmetric, so its inverse is its conjugate.

    Args:
        y: floats or complex coefficients of any shape.
        axis: that of `dft`.

    Returns:
        The signal, complex, in the shape of y.

    Raises:
        ValueError: y or axis cannot be used; the sentence says which.

    Example:
        >>> idft(dft(np.array([3.0, 1.0]))).real.round(6)
        array([3., 1.])
    """
    z = _check(y, axis, (*FLOATS, *COMPLEX), values=False)
    return narrow(along(dft_basis(y.shape[axis]).conj(), z, axis), y.dtype)


def dht(x: NDArray, axis: int = -1) -> NDArray:
    """H = Re X - Im X of the DFT X, as one real matrix: what a layer can train where the DFT needs complex numbers.

    Args:
        x: floats of any shape.
        axis: along which axis; the others are batch axes.

    Returns:
        Real coefficients, in the shape of x.

    Raises:
        ValueError: x or axis cannot be used; the sentence says which.

    Example:
        >>> dht(np.array([3.0, 1.0])).round(6)  # (3 + 1, 3 - 1) / sqrt 2
        array([2.828427, 1.414214])
    """
    z = _check(x, axis)
    return narrow(along(dht_basis(x.shape[axis]), z, axis), x.dtype)


def idht(y: NDArray, axis: int = -1) -> NDArray:
    """x = dht(H) along `axis`: the matrix is its own inverse.

    Args:
        y: coefficients of any shape.
        axis: that of `dht`.

    Returns:
        The signal, in the shape of y.

    Raises:
        ValueError: y or axis cannot be used; the sentence says which.

    Example:
        >>> idht(dht(np.array([3.0, 1.0]))).round(6)
        array([3., 1.])
    """
    z = _check(y, axis, values=False)
    return narrow(along(dht_basis(y.shape[axis]), z, axis), y.dtype)
