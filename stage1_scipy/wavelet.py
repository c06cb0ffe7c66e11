"""Orthonormal wavelet transforms along one axis: PyWavelets called level by level, and Shannon's bands masked out."""

import numpy as np
import pywt
import scipy.fft
from numpy.typing import NDArray

from arrays import check_array, check_arrays, narrow
from checks import check_axis, check_levels, check_wavelet, check_wavelet_code


def dwt(x: NDArray, wavelet: str = "haar", levels: int = 1, axis: int = -1) -> tuple[NDArray, ...]:
    """(approx, coarsest detail, ..., finest detail) of the periodised orthonormal transform (Mallat 2009, 7.5.1).

    Odd lengths: the last sample passes unchanged into the approximation, the others are transformed; so every level is
    orthonormal, takes n to ceil(n / 2) + floor(n / 2), and all levels together keep n numbers.  (pywt repeats that
    sample instead, which gives n + 1 numbers and does not keep energy.)  `levels` is 0 to ceil(log2 n), where one
    sample is left.

    Args:
        x: floats of any shape.
        wavelet: haar, db1 to db38, sym2 to sym20 or coif1 to coif17.
        levels: 0 to ceil(log2 n).
        axis: along which axis; the others are batch axes.

    Returns:
        levels + 1 arrays, which together have as many numbers as x.

    Raises:
        ValueError: x, wavelet, levels or axis cannot be used; the sentence says which.

    Example:
        >>> dwt(np.array([3.0, 1.0, 4.0]))[1].round(6)  # (3 - 1) / sqrt 2; the 4 passes
        array([1.414214])
    """
    y = check_array(x)
    check_axis(axis, x.ndim)
    check_wavelet(wavelet)
    check_levels(levels, x.shape[axis])
    approx = np.moveaxis(y, axis, -1)
    details: list[NDArray] = []
    for _ in range(levels):
        even = approx.shape[-1] // 2 * 2
        low, high = pywt.dwt(approx[..., :even], wavelet, "periodization")
        approx = np.concatenate([low, approx[..., even:]], -1)
        details.insert(0, high)
    return narrow(tuple(np.moveaxis(part, -1, axis) for part in (approx, *details)), x.dtype)


def idwt(code: tuple[NDArray, ...], wavelet: str = "haar", levels: int | None = None, axis: int = -1) -> NDArray:
    """x = W^T (approx, *details), level by level, the inverse of `dwt`.

    The code alone says how many levels there are and which of them were odd: there the approximation is one longer
    than its detail.

    Args:
        code: what `dwt` returned.
        wavelet: that of `dwt`.
        levels: None, or the number of details in the code.
        axis: that of `dwt`.

    Returns:
        The signal, in the shape of x.

    Raises:
        ValueError: the code is none of `dwt`, or wavelet, levels or axis do not fit it.

    Example:
        >>> idwt(dwt(np.array([3.0, 1.0, 4.0]), levels=2), levels=2).round(6)
        array([3., 1., 4.])
    """
    check_wavelet(wavelet)
    check_wavelet_code(code, levels, axis)
    x, *details = (np.moveaxis(part, axis, -1) for part in check_arrays(code))
    for high in details:
        half = high.shape[-1]
        x = np.concatenate([pywt.idwt(x[..., :half], high, wavelet, "periodization"), x[..., half:]], -1)
    return narrow(np.moveaxis(x, -1, axis), code[0].dtype)


def _shannon_basis(n: int) -> NDArray:
    """Build the orthonormal Shannon basis of R^n in rows, each band from its mask on the n frequencies of the DFT."""
    rows = [np.full(n, n**-0.5)]  # the mean
    low = 1
    while low < n / 2:
        high = min(2 * low, (n + 1) // 2)  # the octave low <= f < 2 low, below the Nyquist frequency
        for part in (np.real, np.imag):
            for k in range(high - low):
                shift = np.exp(-2j * np.pi * k * np.arange(n) / (high - low))  # by k n / m samples
                mask = (np.arange(n) >= low) & (np.arange(n) < high)
                rows.append(part(scipy.fft.ifft(mask * shift)) * n * (2 / n / (high - low)) ** 0.5)
        low = high
    if n % 2 == 0:
        rows.append((-1.0) ** np.arange(n) * n**-0.5)  # the Nyquist frequency has a cosine and no sine
    return np.stack(rows)


def shannon(x: NDArray, axis: int = -1) -> NDArray:
    """y = S x along `axis`: octave bands, each spanned by band-limited translates; S orthonormal, for every length n.

    The Shannon multiresolution on a periodic grid (Mallat 2009, sections 7.1.1 and 7.2.2).  The band of the m
    frequencies a, ..., b - 1 is spanned by the m translates by n / m of the analytic function
    u(t) = (n m)^(-1/2) sum_f exp(2 pi i f t / n).  They are orthonormal, since m consecutive frequencies stay distinct
    modulo m, and orthogonal to their conjugates, whose frequencies are negative; so sqrt(2) Re u and sqrt(2) Im u are
    an orthonormal basis of the 2 m real dimensions.  Order: mean, octaves [1, 2), [2, 4), [4, 8), ... with the last
    one cut at n / 2 (cosine translates, then sine translates), and for even n the Nyquist frequency.

    Args:
        x: floats of any shape.
        axis: along which axis; the others are batch axes.

    Returns:
        The coefficients, in the shape of x.

    Raises:
        ValueError: x or axis cannot be used; the sentence says which.

    Example:
        >>> shannon(np.ones(4)).round(6)  # the mean alone
        array([2., 0., 0., 0.])
    """
    y = check_array(x)
    check_axis(axis, x.ndim)
    return narrow(_apply(_shannon_basis(x.shape[axis]), y, axis), x.dtype)


def ishannon(y: NDArray, axis: int = -1) -> NDArray:
    """x = S^T y along `axis`, the inverse of `shannon`.

    Args:
        y: coefficients of any shape.
        axis: that of `shannon`.

    Returns:
        The signal, in the shape of y.

    Raises:
        ValueError: y or axis cannot be used; the sentence says which.

    Example:
        >>> ishannon(shannon(np.array([3.0, 1.0, 4.0]))).round(6)
        array([3., 1., 4.])
    """
    z = check_array(y, values=False)
    check_axis(axis, y.ndim)
    return narrow(_apply(_shannon_basis(y.shape[axis]).T, z, axis), y.dtype)


def _apply(matrix: NDArray, x: NDArray, axis: int) -> NDArray:
    """Multiply every line of x along `axis` by the matrix, one line after the other."""
    return np.apply_along_axis(matrix.astype(x.dtype).dot, axis, x)
