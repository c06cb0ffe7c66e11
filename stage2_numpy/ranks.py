"""Ranks from spectra by cumulative sums, and empirical variational Bayes by golden sections of our own."""

from collections.abc import Callable
from math import ceil, log, log1p

import numpy as np
from numpy.typing import NDArray

from arrays import check_array, narrow, scaled, variance, wide
from checks import check_spectrum, require
from contract import EVB


def energy_rank(s: NDArray, energy: float) -> int:
    """The smallest r whose tail s_{r+1}^2 + ... + s_n^2 is within 1 - energy of the whole, at least 1; s in any order.

    Tails are summed from the smallest value up, so that none is lost to rounding.  What they may exceed their share by
    is the rounding of energy, and an error of eps s_1 in every value, as an SVD leaves where the matrix has none.

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
    slack = np.finfo(np.float64).eps + s.size * float(np.finfo(values.dtype).eps) ** 2
    tails = np.cumsum(np.sort(values.astype(np.float64) ** 2))[::-1]  # tails[r] is what rank r leaves
    return max(1, int((tails > (1 - energy + slack) * tails[0]).sum()))


def tau_threshold(alpha: float) -> float:
    """Find the zero of log(t + 1) + alpha log(t / alpha + 1) - t above sqrt(alpha), 0 < alpha <= 1.

    Nakajima et al. 2015 (JMLR 16); they give 2.5129 sqrt(alpha) as an approximation, which would leave a step in the
    free energy.  The function is concave and falls there, so Newton's method from above converges monotonically.
    """
    t = 4.0
    for _ in range(30):
        t -= (log1p(t) + alpha * log(t / alpha + 1) - t) * (t + 1) * (t + alpha) / (alpha - t * t)
    return t


def _tau(x: NDArray, alpha: float) -> NDArray:
    """Return the larger root of x = (1 + t)(1 + alpha / t), for x above the threshold."""
    half = (x - 1 - alpha) / 2
    return half + np.sqrt(half**2 - alpha)


def _golden(function: Callable[[NDArray], NDArray], low: NDArray, high: NDArray) -> NDArray:
    """Find a minimiser of `function` in every interval [low, high] at once, by golden sections (Kiefer 1953)."""
    ratio = (5**0.5 - 1) / 2
    for _ in range(60):  # 0.618^60 = 3e-13 of the interval; the values can tell 1e-8 apart
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        left = function(a) < function(b)
        low, high = np.where(left, low, a), np.where(left, b, high)
    return (low + high) / 2


def evbmf_spectrum(s: NDArray, shape: tuple[int, int]) -> EVB[NDArray]:
    """Find the same as `evbmf` from all singular values s (min(m, n),) of a matrix of that shape.

    Nakajima et al. 2013 and 2015.  With x = s^2 / (max(m, n) sigma^2) a component is
    signal where x is above (1 + t)(1 + alpha / t), t the threshold; its tau is the larger root of x = (1 + tau)(1 +
    alpha / tau), and its shrunk singular value s tau / x.  The free energy has concave kinks where components cross
    the threshold, hence a golden section between every two of them.

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
    power = np.sort(values)[::-1] ** 2 / large
    total, alpha = power.sum(), small / large
    threshold = tau_threshold(alpha)
    x_low = (1 + threshold) * (1 + alpha / threshold)

    def energy(u: NDArray) -> NDArray:
        """The free energy at the variances exp(u) (k,), without the sum of log s^2, which no variance changes."""
        x = power / np.exp(u)[:, None]
        tau = _tau(np.maximum(x, x_low), alpha)
        psi = np.log1p(tau) + alpha * np.log1p(tau / alpha) - tau
        return np.where(x > x_low, x + psi, x).sum(1) + small * u

    floor = 4 * np.finfo(np.float64).eps * (total or 1.0)  # what the eigenvalues of a Gram matrix in float64 resolve
    most = ceil(small / (1 + alpha)) - 1  # more components than this are never signal
    low = max(power[most] / x_low, power[most:].mean(), floor)
    kinks = np.log(np.clip([low, *power[: most + 1][::-1] / x_low, np.inf], low, max(low, total / small)))
    minima = np.append(_golden(energy, kinks[:-1], kinks[1:]), kinks[[0, -1]])
    sigma2 = float(np.exp(minima[np.argmin(energy(minima))]))
    x = power / sigma2
    tau = _tau(np.maximum(x, x_low), alpha)
    shrunk = np.ldexp(np.where(x > x_low, np.sqrt(power * large) * tau / np.maximum(x, x_low), 0), exponent)
    noise = variance(sigma2, exponent) if values.any() else 0.0
    return EVB(max(1, int((x > x_low).sum())), noise, narrow(shrunk.astype(wide(s).dtype), s.dtype))


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
    s = np.linalg.svd(check_array(x, ndim=2).astype(np.float64), compute_uv=False)
    m, n = x.shape
    return evbmf_spectrum(s, (m, n))
