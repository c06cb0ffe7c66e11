"""Ranks from spectra, literally: a loop over ranks, and the free energy handed to SciPy's bounded minimiser."""

from itertools import pairwise
from math import ceil, exp, fsum, log

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.optimize import brentq, minimize_scalar

from arrays import check_array, narrow, scaled, variance, wide
from checks import check_spectrum, require
from contract import EVB


def energy_rank(s: NDArray, energy: float) -> int:
    """The smallest r with s_1^2 + ... + s_r^2 >= energy (s_1^2 + ... + s_n^2), at least 1; s (n,) in any order.

    "At least" is meant up to rounding: that of the fraction, and an error of eps s_1 in every value, which is what an
    SVD leaves where the matrix has none.  Energy 1 keeps all but those.

    Args:
        s: singular values (n,), in any order.
        energy: the share of the energy to keep, in (0, 1].

    Returns:
        The rank, 1 to n.

    Raises:
        ValueError: s is no finite vector of floats, or energy is not in (0, 1].

    Example:
        >>> energy_rank(np.array([3.0, 4.0, 0.0]), 0.6), energy_rank(np.array([3.0, 4.0, 0.0]), 0.7)
        (1, 2)
    """
    values = check_array(s, ndim=1)
    values = np.ldexp(values, -max(0, int(np.frexp(np.abs(values).max())[1])))  # the squares of large ones overflow
    require(0 < energy <= 1, "energy", energy, "in (0, 1]")
    slack = float(np.finfo(np.float64).eps + s.size * np.finfo(values.dtype).eps ** 2)
    squares = sorted((float(value) ** 2 for value in values), reverse=True)
    wanted = (energy - slack) * fsum(squares)
    return next(r for r in range(1, len(squares) + 1) if fsum(squares[:r]) >= wanted)


def evbmf(x: NDArray) -> EVB[NDArray]:
    """Find rank, noise variance and shrunk singular values of x (m, n) by empirical variational Bayes.

    Args:
        x: a matrix of floats (m, n).

    Returns:
        EVB(rank, sigma2, s): the rank, at least 1; the noise variance; the shrunk singular values (min(m, n),).

    Raises:
        ValueError: x is no finite matrix of floats, or so large or small that the variance is no number of float64.

    Example:
        >>> signal = np.outer(np.ones(20), np.ones(30))
        >>> evbmf(signal + 0.1 * np.random.default_rng(0).standard_normal((20, 30))).rank
        1
    """
    s = scipy.linalg.svdvals(check_array(x, ndim=2).astype(np.float64))
    m, n = x.shape
    return evbmf_spectrum(s, (m, n))


def evbmf_spectrum(s: NDArray, shape: tuple[int, int]) -> EVB[NDArray]:
    """Find the same as `evbmf` from all singular values s (min(m, n),) of a matrix of that shape.

    The global solution of Nakajima, Sugiyama, Babacan & Tomioka 2013 (JMLR 14) in the simple form of Nakajima, Tomioka,
    Sugiyama & Babacan 2015 (JMLR 16), which bounds the noise variance as well; that variance minimises the free energy.
    The energy has a concave kink wherever a component crosses the threshold, so its minima lie between the kinks, and
    every interval is searched.

    Args:
        s: all singular values (min(m, n),), in any order.
        shape: (m, n) of the matrix.

    Returns:
        EVB(rank, sigma2, s), as `evbmf` returns it.

    Raises:
        ValueError: s is no finite vector of min(m, n) floats, or the variance is no number of float64.

    Example:
        >>> result = evbmf_spectrum(np.array([9.0, 0.2, 0.1]), (3, 4))
        >>> result.rank, bool(0 < result.s[0] < 9)
        (1, True)
    """
    values, exponent = scaled(check_array(s, ndim=1).astype(np.float64))
    check_spectrum(s, shape)
    small, large = sorted(shape)
    gamma = np.sort(values)[::-1]
    total = fsum(gamma**2)
    if total == 0:
        return EVB(1, 0.0, narrow(np.zeros(len(s), wide(s).dtype), s.dtype))
    alpha = small / large
    tau_low = brentq(lambda t: log(t + 1) / t + alpha * log(t / alpha + 1) / t - 1, alpha**0.5, 1e3, xtol=1e-15)
    x_low = (1 + tau_low) * (1 + alpha / tau_low)

    def tau(x: NDArray) -> NDArray:
        return 0.5 * (x - (1 + alpha) + np.sqrt((x - (1 + alpha)) ** 2 - 4 * alpha))

    def energy(sigma2: float) -> float:
        """The free energy but for the constant sum of log gamma^2, which is infinite for a rank-deficient x."""
        x = gamma**2 / (large * sigma2)
        t = tau(x[x > x_low])
        psi = np.log(t + 1) + alpha * np.log(t / alpha + 1) - t
        return fsum(x) + small * log(sigma2) + fsum(psi)

    most = ceil(small / (1 + alpha)) - 1  # more components than this are never signal: their x - tau exceed small
    high = total / (small * large)
    floor = 4 * np.finfo(np.float64).eps * total / large  # what the eigenvalues of a Gram matrix in float64 resolve
    low = max(gamma[most] ** 2 / (large * x_low), fsum(gamma[most:] ** 2) / (large * (small - most)), floor)
    kinks = sorted({low, high, *(k for k in gamma**2 / (large * x_low) if low < k < high)})
    minima = kinks
    for a, b in pairwise(kinks):
        best = minimize_scalar(
            lambda u: energy(exp(u)), bounds=(log(a), log(b)), method="bounded", options={"xatol": 1e-9}
        )
        minima = [*minima, exp(float(best.x))]
    sigma2 = min(minima, key=energy)
    signal = gamma**2 > large * sigma2 * x_low
    y = np.where(signal, gamma, 1)
    ratio = 1 - (small + large) * sigma2 / y**2
    shrunk = y / 2 * (ratio + np.sqrt(np.maximum(ratio**2 - 4 * small * large * sigma2**2 / y**4, 0)))
    shrunk = np.ldexp(np.where(signal, shrunk, 0), exponent).astype(wide(s).dtype)
    return EVB(max(1, int(signal.sum())), variance(sigma2, exponent), narrow(shrunk, s.dtype))
