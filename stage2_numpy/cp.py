"""Canonical polyadic decomposition by normal equations: contractions and eigenvectors of R x R Gram matrices."""

from functools import reduce

import numpy as np
from numpy.typing import NDArray

from arrays import check_array, check_arrays, narrow, restored, scaled
from checks import check_cp, check_factors, require
from contract import CP, RIDGE

from .svd import svd
from .tensor import mode_product, unfold


def cp(x: NDArray, rank: int, sweeps: int = 50, ridge: float = 0.0, bound: float | None = None) -> CP[NDArray]:
    """min |x - sum_k w_k a_k o b_k o ...| by alternating least squares with a ridge towards the current factor.

    B (G + ridge I) = M + ridge B_now with M = X_(n) K and G = K^T K, the Hadamard product of the other factors' Gram
    matrices (Kolda & Bader 2009, eq. 3.4), solved in the eigenbasis of G.  Then, with `bound`, the error preserving
    correction of Phan et al. 2019: min |B| on the sphere |x - x_hat| = delta, through its secular equation.

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
    energy = float(np.vdot(y, y))
    for _ in range(sweeps):
        for mode in range(y.ndim):
            m, (values, vectors) = _mttkrp(y, units, mode), np.linalg.eigh(_gram(units, mode))
            damp = (1 / (np.maximum(values, 0) + max(ridge, RIDGE))).astype(y.dtype)
            now = units[mode] * weights
            b = now + ((m - now @ _gram(units, mode)) @ vectors * damp) @ vectors.T
            weights, units[mode] = _normalise(b, units[mode])
        b = units[-1] * weights
        square = np.vdot(b @ _gram(units, y.ndim - 1), b)
        weights = weights * (np.vdot(m, b) / square if square > 0 else y.dtype.type(1))
    if bound is not None:
        left = energy - 2 * np.vdot(weights, _inner(y, units)) + weights @ _gram(units) @ weights
        allowed = max(bound**2 * energy, float(left))
        for mode in [*range(y.ndim)] * sweeps:
            b = _smallest(_mttkrp(y, units, mode), _gram(units, mode), energy - allowed)
            weights, units[mode] = (weights, units[mode]) if b is None else _normalise(b, units[mode])
    return narrow(CP(restored(weights, exponent), tuple(units)), x.dtype)


def _start(x: NDArray, rank: int) -> tuple[NDArray, list[NDArray]]:
    """Take the `rank` largest terms of the SVDs of slices between the two longest modes, short ones rotated first."""
    order = np.argsort([-size for size in x.shape], kind="stable")
    long, short, rest = int(order[0]), int(order[1]), sorted(int(mode) for mode in order[2:])
    rotations = [svd(unfold(x, mode), x.shape[mode]).u for mode in rest]
    y = reduce(lambda y, pair: mode_product(y, pair[1].T, pair[0]), zip(rest, rotations), x)
    y = np.moveaxis(y, (*rest, short, long), range(x.ndim)).reshape(-1, x.shape[short], x.shape[long])
    slices = [svd(matrix, x.shape[short]) for matrix in y]
    s = np.concatenate([code.s for code in slices])
    chosen = np.argsort(-s, kind="stable")[:rank]
    units = {short: np.concatenate([code.u for code in slices], 1)[:, chosen]}
    units[long] = np.concatenate([code.vt for code in slices])[chosen].T
    places = np.unravel_index(chosen // x.shape[short], [x.shape[mode] for mode in rest]) if rest else ()
    units |= {mode: rotation[:, place] for mode, rotation, place in zip(rest, rotations, places)}
    return s[chosen], [units[mode] for mode in range(x.ndim)]


def _mttkrp(x: NDArray, units: list[NDArray], mode: int) -> NDArray:
    """M (n_mode, r) = X_(mode) K: the first contraction makes the axis of components, the others run along it."""
    first, *others = [m for m in reversed(range(x.ndim)) if m != mode]
    y = np.moveaxis(np.tensordot(x, units[first], (first, 0)), -1, 0)
    for m in others:  # modes above m are gone, but for `mode` itself: m is still the axis of mode m
        y = np.einsum("k...i,ik->k...", np.moveaxis(y, m + 1, -1), units[m])
    return y.T


def _gram(units: list[NDArray], skip: int | None = None) -> NDArray:
    """G = U_1^T U_1 * U_2^T U_2 * ..., elementwise, without the mode `skip`."""
    return reduce(np.multiply, [unit.T @ unit for mode, unit in enumerate(units) if mode != skip])


def _inner(x: NDArray, units: list[NDArray]) -> NDArray:
    """<x, a_k o b_k o ...> for every k."""
    return (_mttkrp(x, units, 0) * units[0]).sum(0)


def _smallest(m: NDArray, gram: NDArray, fit: float) -> NDArray | None:
    """argmin |B| with 2 <m, B> - <B G, B> >= fit; None if the ridge RIDGE already fits worse.

    B = M (G + mu I)^-1, and with c_i = |M v_i|^2 the fit sum_i c_i (g_i + 2 mu) / (g_i + mu)^2 falls in mu.
    """
    g, vectors = np.linalg.eigh(gram)
    g, c = np.maximum(g, 0), ((m @ vectors) ** 2).sum(0)
    low, high = RIDGE, 1e8
    if (c * (g + 2 * low) / (g + low) ** 2).sum() < fit:
        return None
    for _ in range(64):  # bisection of 12 decades to 12 digits
        middle = np.sqrt(low * high)
        enough = (c * (g + 2 * middle) / (g + middle) ** 2).sum() >= fit
        low, high = (middle, high) if enough else (low, middle)
    return m @ vectors * (1 / (g + low)).astype(m.dtype) @ vectors.T


def _normalise(factor: NDArray, before: NDArray) -> tuple[NDArray, NDArray]:
    """(norms, unit columns); a column of zeros keeps the direction it had before."""
    norms = np.sqrt((factor**2).sum(0))
    return norms, np.where(norms > 0, factor, before) / np.where(norms > 0, norms, 1)


def uncp(code: CP[NDArray]) -> NDArray:
    """x_hat = sum_k w_k a_k o b_k o ..., one outer product of all factors at a time.

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
    x, factors = check_arrays(CP(code.weights, tuple(code.factors)))
    for factor in factors[:-1]:
        x = x[..., None, :] * factor
    return narrow(x @ factors[-1].T, code.weights.dtype)
