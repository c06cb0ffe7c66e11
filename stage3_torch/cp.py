"""Canonical polyadic decomposition by a dimension tree and Cholesky, batched and differentiable; the fast one."""

import math

import torch
from torch import Tensor

from checks import check_cp, check_factors, require
from contract import CP, RIDGE

from .checks import check_overflow, check_tensor, check_tensors, narrow, wide
from .cp_steps import least_squares, normalise, smallest
from .cp_sweep import cut_modes, khatri_rao, sweep
from .tensor import gram, leading_vectors, mode_product, scaled


def cp(
    x: Tensor, rank: int, sweeps: int = 50, ridge: float = 0.0, bound: float | None = None, batch: int = 0
) -> CP[Tensor]:
    """min |x - sum_k w_k a_k o b_k o ...| by alternating least squares with a ridge towards the current factor.

    The iterates of the other stages.  A sweep reads x twice, whatever its number of modes: partial products are
    shared along a dimension tree (Phan et al. 2013, section III).  The first `batch` axes of x count independent
    tensors.  `bound` as in stage 1 (Phan et al. 2019, 2020).

    Args:
        x: floats, with at least two axes that are none of the batch.
        rank: how many rank-one terms to sum.
        sweeps: how many passes over all modes follow the start.
        ridge: how strongly a step is pulled towards the factor before it.
        bound: the relative error to spend on stability, or None.
        batch: how many of the first axes of x count independent arrays.

    Returns:
        CP(weights (..., r), factors (..., n_i, r)), unit columns, weights not negative.

    Raises:
        ValueError: x, rank, sweeps, ridge, bound or batch cannot be used; the sentence says which.

    Example:
        >>> code = cp(torch.ones((4, 3, 2)), 1)
        >>> code.weights, [tuple(factor.shape) for factor in code.factors]  # sqrt(24), the norm of x
        (tensor([4.8990]), [(4, 1), (3, 1), (2, 1)])
    """
    check_tensor(x)
    require(0 <= batch < x.ndim, "batch", batch, f"in 0 to {x.ndim - 1} for {x.ndim} axes")
    rank = check_cp(rank, sweeps, ridge, bound, x.shape[batch:])
    y, scale = scaled(wide(x), batch)
    weights, units = _start(y, rank, batch)
    # Cholesky in float32 needs a ridge above its rounding errors, which grow with the rank
    damping = max(ridge, RIDGE, 4 * rank * torch.finfo(y.dtype).eps)
    step = least_squares(damping, torch.eye(rank, dtype=y.dtype, device=y.device))
    energy = torch.linalg.vector_norm(y.flatten(batch), dim=-1, dtype=torch.float64).square()
    left = energy - weights.double().square().sum(-1)
    grams = [unit @ unit.mT for unit in units]
    for _ in range(sweeps):
        weights, units, grams, fit, square = sweep(y, weights, units, grams, step)
        length = torch.where(square > 0, fit / torch.where(square > 0, square, 1), 1)
        weights = weights * length[..., None].to(weights.dtype)
        left = energy - length * fit
    if bound is not None:
        step = smallest(energy, torch.maximum(bound**2 * energy, left))
        for _ in range(sweeps):
            weights, units, grams, _, _ = sweep(y, weights, units, grams, step)
    terms = weights * scale.reshape(*weights.shape[:-1], 1)
    check_overflow(terms, weights)  # single terms may be larger than their sum
    return CP(narrow(terms, x.dtype), tuple(unit.mT.to(x.dtype) for unit in units))


def _start(x: Tensor, rank: int, batch: int) -> tuple[Tensor, list[Tensor]]:
    """Take the `rank` largest terms of the SVDs of slices between the two longest modes, short ones rotated first."""
    shape = x.shape[batch:]
    long, short, *_ = order = sorted(range(len(shape)), key=lambda mode: -shape[mode])
    rest, head = sorted(order[2:]), x.shape[:batch]
    bases = {mode: leading_vectors(gram(x, mode, batch), shape[mode], columns=True).to(x.dtype) for mode in rest}
    y = x
    for mode, basis in bases.items():
        y = mode_product(y, basis.mT, mode, batch)
    y = y.permute(*range(batch), *(batch + mode for mode in (*rest, short, long)))
    y = y.reshape(*head, -1, shape[short], shape[long])
    u = leading_vectors(gram(y, 0, batch + 1), shape[short], columns=True).to(y.dtype)
    v = u.mT @ y  # rows s_k v_k: orthogonal projections of the slices, even where rounding has turned u
    s = v.square().sum(-1).flatten(-2)
    chosen = s.sort(dim=-1, descending=True, stable=True).indices[..., :rank]
    pick = chosen[..., None]
    weights, rows = normalise(
        v.flatten(-3, -2).take_along_dim(pick, -2), y.new_ones(1, shape[long]) / math.sqrt(shape[long])
    )
    units = {long: rows, short: u.mT.flatten(-3, -2).take_along_dim(pick, -2)}
    place = pick // shape[short]
    for mode in reversed(rest):
        units[mode] = bases[mode].mT.take_along_dim(place % shape[mode], -2)
        place = place // shape[mode]
    return weights, [units[mode] for mode in range(len(shape))]


def uncp(code: CP[Tensor]) -> Tensor:
    """x_hat = sum_k w_k a_k o b_k o ..., as one matrix product; batch axes are those of the weights before (r,).

    Args:
        code: what `cp` returned.

    Returns:
        The approximation, in the shape of x.

    Raises:
        ValueError: fewer than two factors, or one with another number of columns than there are weights.

    Example:
        >>> uncp(cp(torch.ones(2, 2), 1)).shape
        torch.Size([2, 2])
    """
    head = code.weights.shape[:-1]
    require(len(code.factors) >= 2, "code.factors", f"{len(code.factors)} of them", "at least 2 arrays")
    check_factors(code.factors, [code.weights.shape[-1]] * len(code.factors), head)
    weights, factors = check_tensors(CP(code.weights, tuple(code.factors)))
    units = [factor.mT for factor in factors]
    cut = cut_modes([unit.shape[-1] for unit in units])
    x = (khatri_rao(units[:cut]) * weights[..., None]).mT @ khatri_rao(units[cut:])
    return narrow(x.reshape(*head, *(unit.shape[-1] for unit in units)), code.weights.dtype)
