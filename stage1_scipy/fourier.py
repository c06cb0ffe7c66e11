"""Orthonormal trigonometric transforms along one axis: scipy.fft called, nothing else."""

from collections.abc import Sequence

import numpy as np  # noqa: F401  # the examples use it
import scipy.fft
from numpy.typing import NDArray

from arrays import COMPLEX, FLOATS, check_array, narrow
from checks import check_axis, check_type


def _check(x: NDArray, axis: int, dtypes: Sequence[str] = FLOATS, values: bool = True) -> NDArray:
    """Return x as it is computed; refuse what has no such axis or cannot be transformed."""
    y = check_array(x, dtypes=dtypes, values=values)
    check_axis(axis, y.ndim)
    return y


def dct(x: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """X_k = sum_n C_kn x_n, the orthonormal DCT of type I to IV (Ahmed et al. 1974; Wang 1984).

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
    return narrow(scipy.fft.dct(z, type, axis=axis, norm="ortho", orthogonalize=True), x.dtype)


def idct(y: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """x_n = sum_k C_kn X_k, the inverse of `dct` of the same type.

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
    return narrow(scipy.fft.idct(z, type, axis=axis, norm="ortho", orthogonalize=True), y.dtype)


def dst(x: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """X_k = sum_n S_kn x_n, the orthonormal DST of type I to IV (Jain 1976; Wang 1984).

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
    return narrow(scipy.fft.dst(z, type, axis=axis, norm="ortho", orthogonalize=True), x.dtype)


def idst(y: NDArray, type: int = 2, axis: int = -1) -> NDArray:
    """x_n = sum_k S_kn X_k, the inverse of `dst` of the same type.

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
    return narrow(scipy.fft.idst(z, type, axis=axis, norm="ortho", orthogonalize=True), y.dtype)


def dft(x: NDArray, axis: int = -1) -> NDArray:
    """X_k = n^(-1/2) sum_t x_t exp(-2 pi i k t / n), the unitary DFT (Mallat 2009, 3.3.2).

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
    return narrow(scipy.fft.fft(_check(x, axis, (*FLOATS, *COMPLEX)), axis=axis, norm="ortho"), x.dtype)


def idft(y: NDArray, axis: int = -1) -> NDArray:
    """x_t = n^(-1/2) sum_k X_k exp(2 pi i k t / n), the inverse of `dft`.

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
    return narrow(scipy.fft.ifft(_check(y, axis, (*FLOATS, *COMPLEX), values=False), axis=axis, norm="ortho"), y.dtype)


def dht(x: NDArray, axis: int = -1) -> NDArray:
    """H_k = Re X_k - Im X_k of the unitary DFT X of a real x: the discrete Hartley transform (Bracewell 1983).

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
    spectrum = scipy.fft.fft(_check(x, axis), axis=axis, norm="ortho")
    return narrow(spectrum.real - spectrum.imag, x.dtype)


def idht(y: NDArray, axis: int = -1) -> NDArray:
    """x = dht(H): the Hartley transform is symmetric and orthonormal, so it is its own inverse.

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
    spectrum = scipy.fft.fft(_check(y, axis, values=False), axis=axis, norm="ortho")
    return narrow(spectrum.real - spectrum.imag, y.dtype)
