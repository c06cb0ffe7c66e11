"""Orthonormal wavelet transforms as matrices: all levels of the periodised one composed, Shannon's in closed form."""

import numpy as np
from numpy.typing import NDArray

from arrays import check_array, check_arrays, narrow
from checks import check_axis, check_levels, check_wavelet, check_wavelet_code

from .filters import scaling_filter
from .fourier import along


def _level(n: int, wavelet: str) -> NDArray:
    """Build one level (n, n), n even: row i is the low-pass filter around sample 2i, row n/2 + i the high-pass one.

    W[i, 2i + L/2 - k] += h[L-1-k] and W[n/2 + i, 2i + L/2 - k] += (-1)^(k+1) h[k], columns modulo n, which folds a
    filter longer than the signal: the convention of pywt's "periodization".
    """
    h = scaling_filter(wavelet)
    k = np.arange(len(h))
    row = np.arange(n // 2)[:, None]
    column = (2 * row + len(h) // 2 - k) % n
    w = np.zeros((n, n))
    np.add.at(w, (row, column), h[::-1])
    np.add.at(w, (n // 2 + row, column), h * (-1.0) ** (k + 1))
    return w


def dwt_lengths(n: int, levels: int) -> list[int]:
    """Return the lengths of (approx, coarsest detail, ..., finest): a level takes n to ceil(n / 2) and floor(n / 2)."""
    details: list[int] = []
    for _ in range(levels):
        n, detail = n - n // 2, n // 2
        details.insert(0, detail)
    return [n, *details]


def dwt_basis(n: int, wavelet: str, levels: int) -> NDArray:
    """W (n, n), orthonormal: dwt(x) is W x, cut at `dwt_lengths`.

    An odd level is blockdiag(W_(n-1), 1) with the lone row moved to the end of the approximation.
    """
    w = np.eye(n)
    for _ in range(levels):
        half, odd = divmod(n, 2)
        top = w[:n].copy()
        split = _level(2 * half, wavelet) @ top[: 2 * half]
        w[:n] = np.concatenate([split[:half], top[n - odd :], split[half:]])
        n = half + odd
    return w


def shannon_basis(n: int) -> NDArray:
    """S (n, n), orthonormal: the mean, per octave its cosine and sine translates, and for even n the Nyquist frequency.

    With theta = t/n - k/m the geometric sum over the m frequencies a, ..., a+m-1 is a Dirichlet kernel on a carrier,
    sum_f exp(2 pi i f theta) = sin(pi m theta) / sin(pi theta) exp(2 pi i c theta) at the centre c = a + (m-1)/2: the
    periodic sinc times cosine and sine (Mallat 2009, section 7.2.2), with sqrt(2 / (n m)) in front.
    """
    t = np.arange(n)
    rows = [np.full((1, n), 1.0)]
    for octave in range(max(0, n - 1).bit_length()):
        a = 2**octave
        m = min(a, (n + 1) // 2 - a)
        if m < 1:
            break
        steps = (t * m - np.arange(m)[:, None] * n) % (n * m)  # n m theta, exact; one period of theta
        theta = np.where(steps > n * m // 2, steps - n * m, steps) / (n * m)
        safe = np.where(theta == 0, 0.5, theta)
        kernel = np.where(theta == 0, m, np.sin(np.pi * m * safe) / np.sin(np.pi * safe)) * np.sqrt(2 / m)
        centre = 2 * np.pi * (a + (m - 1) / 2) * theta
        rows += [kernel * np.cos(centre), kernel * np.sin(centre)]
    if n % 2 == 0:
        rows.append((-1.0) ** t[None])
    return np.concatenate(rows) / np.sqrt(n)


def dwt(x: NDArray, wavelet: str = "haar", levels: int = 1, axis: int = -1) -> tuple[NDArray, ...]:
    """(approx, coarsest detail, ..., finest detail) = W x along `axis`.

    Odd lengths: the last sample passes unchanged into the approximation.

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
    z = check_array(x)
    check_axis(axis, x.ndim)
    check_wavelet(wavelet)
    n = x.shape[axis]
    check_levels(levels, n)
    y = along(dwt_basis(n, wavelet, levels), z, axis)
    return narrow(tuple(np.split(y, np.cumsum(dwt_lengths(n, levels))[:-1], axis)), x.dtype)


def idwt(code: tuple[NDArray, ...], wavelet: str = "haar", levels: int | None = None, axis: int = -1) -> NDArray:
    """x = W^T (approx, *details) along `axis`, the inverse of `dwt`; the code alone says how many levels.

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
    y = np.concatenate(check_arrays(code), axis)
    return narrow(along(dwt_basis(y.shape[axis], wavelet, len(code) - 1).T, y, axis), code[0].dtype)


def shannon(x: NDArray, axis: int = -1) -> NDArray:
    """y = S x along `axis`: octave bands of band-limited translates, S orthonormal for every length.

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
    z = check_array(x)
    check_axis(axis, x.ndim)
    return narrow(along(shannon_basis(x.shape[axis]), z, axis), x.dtype)


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
    return narrow(along(shannon_basis(y.shape[axis]).T, z, axis), y.dtype)
