"""One sweep of CP over all modes along a dimension tree: x is read twice, whatever its number of modes."""

import math
from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

from .cp_steps import Step, normalise


def khatri_rao(units: Sequence[Tensor]) -> Tensor:
    """Khatri-Rao product by rows: (..., r, product of the sizes); from the right, where kernel axes are short."""
    return reduce(lambda right, left: (left[..., :, None] * right[..., None, :]).flatten(-2), reversed(units))


def sweep(
    x: Tensor, weights: Tensor, units: Sequence[Tensor], grams: Sequence[Tensor], step: Step
) -> tuple[Tensor, list[Tensor], list[Tensor], Tensor, Tensor]:
    """One update of every mode in order: weights, units U_i (..., r, n_i), grams U_i U_i^T, <x, x_hat> and |x_hat|^2.

    The modes are split in two halves; x, contracted with the units of one half, serves every mode of the other half,
    which is split again.
    """
    units, grams, sizes = list(units), list(grams), [unit.shape[-1] for unit in units]
    fit = square = weights.new_zeros((), dtype=torch.float64)

    def update(mode: int, m: Tensor) -> None:
        nonlocal weights, fit, square
        gram = reduce(torch.mul, [g for i, g in enumerate(grams) if i != mode])
        factor = step(m, gram, units[mode] * weights[..., None])
        weights, units[mode] = normalise(factor, units[mode])
        grams[mode] = units[mode] @ units[mode].mT
        if mode == len(units) - 1:
            fit = (m.double() * factor).flatten(-2).sum(-1)
            square = ((gram @ factor).double() * factor).flatten(-2).sum(-1)

    def descend(partial: Tensor, first: int, last: int) -> None:
        """Update the modes first..last-1 from partial (..., r, their sizes flattened)."""
        if last - first == 1:
            return update(first, partial)
        cut = cut_modes(sizes[first:last]) + first
        folded = partial.unflatten(-1, (math.prod(sizes[first:cut]), -1))
        descend((folded @ khatri_rao(units[cut:last])[..., None]).squeeze(-1), first, cut)
        descend((khatri_rao(units[first:cut])[..., None, :] @ folded).squeeze(-2), cut, last)
        return None

    cut = cut_modes(sizes)
    matrix = x.reshape(*weights.shape[:-1], math.prod(sizes[:cut]), -1)
    descend(khatri_rao(units[cut:]) @ matrix.mT, 0, cut)
    descend(khatri_rao(units[:cut]) @ matrix, cut, len(sizes))
    return weights, units, grams, fit, square


def cut_modes(sizes: Sequence[int]) -> int:
    """Where to split the modes so that the two partial products are smallest together."""
    return min(range(1, len(sizes)), key=lambda i: math.prod(sizes[:i]) + math.prod(sizes[i:]))
