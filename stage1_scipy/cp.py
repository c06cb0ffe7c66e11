"""Canonical polyadic decomposition as in the textbook: Khatri-Rao products, least squares, a root finder."""

import math
from collections.abc import Sequence
from functools import reduce

import numpy as np
import scipy.linalg
import scipy.optimize
from numpy.typing import NDArray

from arrays import check_array, check_arrays, narrow, restored, scaled
from checks import check_cp, check_factors, require
from contract import CP, RIDGE

from .tensor import mode_product, unfold


def cp(x: NDArray, rank: int, sweeps: int = 50, ridge: float = 0.0, bound: float | None = None) -> CP[NDArray]:
    """min |x - sum_k w_k a_k o b_k o ...| by alternating least squares (Kolda & Bader 2009, fig. 3.3).

    One mode of a sweep: B = argmin |X_(n) - B K^T|^2 + ridge |B - B_now|^2, K the Khatri-Rao product of the other,
    unit factors.  The ridge pulls towards the *current* factor: no fixed point moves, no step raises the error, and
    a singular K is harmless; it is never below RIDGE, on the unit diagonal of K^T K.  A scale at the end of each
    sweep makes x_hat a projection of x.  Ranks above prod(shape) / max(shape) mean that, and are exact at once.

    `bound` is a relative error delta to spend on stability (Phan et al. 2020, section 3.2; error preserving
    correction of Phan et al. 2019): `sweeps` more sweeps minimise sum w_k^2 with |x - x_hat| <= delta |x|, or the
    error reached if that is larger.  x_hat is then no longer a projection.

    Args:
        x: an array of floats with at least two axes.
        rank: how many rank-one terms to sum.
        sweeps: how many passes over all modes follow the start.
        ridge: how strongly a step is pulled towards the factor before it.
        bound: the relative error to spend on stability, or None.

    Returns:
        CP(weights (r,), factors (n_i, r)), unit columns, weights not negative.

    Raises:
        ValueError: x, rank, sweeps, ridge or bound cannot be used; the sentence says which.

    Example:
        >>> code = cp(np.ones((4, 3, 2)), 1)
        >>> code.weights.round(6), [factor.shape for factor in code.factors]  # sqrt(24), the norm of x
        (array([4.898979]), [(4, 1), (3, 1), (2, 1)])
    """
    y, exponent = scaled(check_array(x))
    rank = check_cp(rank, sweeps, ridge, bound, y.shape)
    weights, units = _start(y, rank)
    for _ in range(sweeps):
        for mode in range(y.ndim):
            target, others = unfold(y, mode).T, _others(units, mode)
            now = units[mode] * weights
            step = _damped_lstsq(others, target - others @ now.T, max(ridge, RIDGE)).T
            weights, units[mode] = _normalise(now + step, units[mode])
        x_hat = uncp(CP(weights, tuple(units)))
        weights = weights * ((y * x_hat).sum() / max((x_hat**2).sum(), np.finfo(y.dtype).tiny))
    if bound is not None:
        delta = max(bound * scipy.linalg.norm(y), scipy.linalg.norm(y - uncp(CP(weights, tuple(units)))))
        for mode in [*range(y.ndim)] * sweeps:
            factor = _smallest(unfold(y, mode).T, _others(units, mode), float(delta))
            if factor is not None:
                weights, units[mode] = _normalise(factor, units[mode])
    return narrow(CP(restored(weights, exponent), tuple(units)), x.dtype)


def _start(x: NDArray, rank: int) -> tuple[NDArray, list[NDArray]]:
    """Return the `rank` largest orthogonal rank-one terms of the slices of x between its two longest modes.

    The short modes are rotated first to their HOSVD bases, which gathers the energy in few slices.
    """
    long, short = sorted(range(x.ndim), key=lambda mode: -x.shape[mode])[:2]
    rotations = {m: scipy.linalg.svd(unfold(x, m))[0] for m in range(x.ndim) if m not in (long, short)}
    y = x
    for mode, rotation in rotations.items():
        y = mode_product(y, rotation.T, mode)
    y = np.moveaxis(y, (short, long), (-2, -1))
    terms = []
    for index in np.ndindex(y.shape[:-2]):
        u, s, vt = scipy.linalg.svd(y[index], full_matrices=False)
        for k in range(len(s)):
            column = {short: u[:, k], long: vt[k]} | {m: r[:, i] for i, (m, r) in zip(index, rotations.items())}
            terms.append((s[k], column))
    terms = sorted(terms, key=lambda term: -term[0])[:rank]
    return np.array([s for s, _ in terms]), [np.stack([c[mode] for _, c in terms], 1) for mode in range(x.ndim)]


def _others(units: Sequence[NDArray], mode: int) -> NDArray:
    """U_1 khatri-rao U_2 ... without `mode`."""
    return reduce(scipy.linalg.khatri_rao, [unit for m, unit in enumerate(units) if m != mode])


def _damped_lstsq(k: NDArray, target: NDArray, ridge: float) -> NDArray:
    """argmin |k b - target|^2 + ridge |b|^2, as the least squares problem [k; sqrt(ridge) I] b = [target; 0]."""
    identity, zero = np.eye(k.shape[1], dtype=k.dtype), np.zeros((k.shape[1], target.shape[1]), k.dtype)
    return scipy.linalg.lstsq(np.vstack([k, math.sqrt(ridge) * identity]), np.vstack([target, zero]))[0]


def _smallest(target: NDArray, k: NDArray, delta: float) -> NDArray | None:
    """argmin |B| subject to |target - k B^T| <= delta: damped by the largest mu allowed; None if even RIDGE is not."""

    def excess(log: float) -> float:
        return float(scipy.linalg.norm(target - k @ _damped_lstsq(k, target, math.exp(log)))) - delta

    low, high = math.log(RIDGE), math.log(1e8)
    if excess(low) > 0:
        return None
    return _damped_lstsq(k, target, math.exp(scipy.optimize.brentq(excess, low, high, xtol=1e-13))).T


def _normalise(factor: NDArray, before: NDArray) -> tuple[NDArray, NDArray]:
    """(norms, unit columns); a column of zeros keeps the direction it had before."""
    norms = scipy.linalg.norm(factor, axis=0)
    return norms, np.where(norms > 0, factor, before) / np.where(norms > 0, norms, 1)


def uncp(code: CP[NDArray]) -> NDArray:
    """vec(x_hat) = (A khatri-rao B khatri-rao ...) w.

    Args:
        code: what `cp` returned.

    Returns:
        The approximation, in the shape of x.

    Raises:
        ValueError: fewer than two factors, or one with another number of columns than there are weights.

    Example:
        >>> uncp(cp(np.ones((2, 2)), 1)).round(6)
        array([[1., 1.],
               [1., 1.]])
    """
    require(len(code.factors) >= 2, "code.factors", f"{len(code.factors)} of them", "at least 2 arrays")
    check_factors(code.factors, [len(code.weights)] * len(code.factors))
    weights, factors = check_arrays(CP(code.weights, tuple(code.factors)))
    vector = reduce(scipy.linalg.khatri_rao, factors) @ weights
    return narrow(vector.reshape([len(factor) for factor in factors]), code.weights.dtype)
