"""Canonical polyadic decomposition by a dimension tree and Cholesky, batched and differentiable; the fast one."""

import math

import torch
from torch import Tensor

from checks import check_cp, check_factors, require
from contract import CP, RIDGE

from .checks import check_tensor
from .cp_steps import least_squares, normalise, smallest
from .cp_sweep import cut_modes, khatri_rao, sweep
from .tensor import gram, leading_vectors, mode_product, wide


def cp(
    x: Tensor, rank: int, sweeps: int = 50, ridge: float = 0.0, bound: float | None = None, batch: int = 0
) -> CP[Tensor]:
    """min |x - sum_k w_k a_k o b_k o ...| by alternating least squares with a ridge towards the current factor.

    The iterates of the other stages.  A sweep reads x twice, whatever its number of modes: partial products are
    shared along a dimension tree (Phan et al. 2013, section III).  The first `batch` axes of x count independent
    tensors.  `bound` as in stage 1 (Phan et al. 2019, 2020).
    """
    check_tensor(x)
    require(0 <= batch < x.ndim, "batch", batch, f"in 0 to {x.ndim - 1} for {x.ndim} axes")
    rank = check_cp(rank, sweeps, ridge, bound, x.shape[batch:])
    y = wide(x)
    weights, units = _start(y, rank, batch)
    # Cholesky in float32 needs a ridge above its rounding errors, which grow with the rank
    damping = max(ridge, RIDGE, 4 * rank * torch.finfo(y.dtype).eps)
    step = least_squares(damping, torch.eye(rank, dtype=y.dtype, device=y.device))
    energy = torch.linalg.vector_norm(y.flatten(batch), dim=-1, dtype=torch.float64).square()
    left = energy - weights.double().square().sum(-1)
    grams = [unit @ unit.mT for unit in units]
    for _ in range(sweeps):
        weights, units, grams, fit, square = sweep(y, weights, units, grams, step)
        scale = torch.where(square > 0, fit / torch.where(square > 0, square, 1), 1)
        weights = weights * scale[..., None].to(weights.dtype)
        left = energy - scale * fit
    if bound is not None:
        step = smallest(energy, torch.maximum(bound**2 * energy, left))
        for _ in range(sweeps):
            weights, units, grams, _, _ = sweep(y, weights, units, grams, step)
    return CP(weights.to(x.dtype), tuple(unit.mT.to(x.dtype) for unit in units))


def _start(x: Tensor, rank: int, batch: int) -> tuple[Tensor, list[Tensor]]:
    """The `rank` largest terms of the SVDs of all slices between the two longest modes, short modes rotated first."""
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
    """x_hat = sum_k w_k a_k o b_k o ..., as one matrix product; batch axes are those of the weights before (r,)."""
    head = code.weights.shape[:-1]
    require(len(code.factors) >= 2, "code.factors", f"{len(code.factors)} of them", "at least 2 arrays")
    check_factors(code.factors, [code.weights.shape[-1]] * len(code.factors), head)
    units = [wide(factor).mT for factor in code.factors]
    cut = cut_modes([unit.shape[-1] for unit in units])
    x = (khatri_rao(units[:cut]) * wide(code.weights)[..., None]).mT @ khatri_rao(units[cut:])
    return x.reshape(*head, *(unit.shape[-1] for unit in units)).to(code.weights.dtype)
