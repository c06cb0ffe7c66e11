"""Ranks from the singular values of a layer's matricisations."""

from collections.abc import Sequence

import torch
from torch import Tensor

from stage3_torch.tensor import syrk


def rounded(rank: int, multiple: int, most: int) -> int:
    """Return `rank` rounded up to a multiple of `multiple`, at most `most`."""
    return min(-(-rank // multiple) * multiple, most)


def grid(largest: int, multiple: int = 1, most: int = 128) -> list[int]:
    """Return at most `most` multiples, evenly spaced, ascending, the last one `largest`.

    Finer steps than 1/128 of the ranks do not pay for planning time.
    """
    step = multiple * -(-largest // (multiple * most))
    return [*range(step, largest, step), largest]


def spectrum(matrices: Tensor) -> Tensor:
    """Return the squared singular values of (g, m, n), descending, summed over the first axis, in float64.

    Eigenvalues of the smaller Gram matrix: exact to rounding as squares, and many times faster than an SVD.
    """
    a = matrices.double()
    a = a if a.shape[-2] <= a.shape[-1] else a.mT
    return torch.linalg.eigvalsh(syrk(a)).clamp_min(0).sum(0).flip(-1)


def kept(squares: Tensor) -> Tensor:
    """Return the cumulative share of the energy in the first r squared singular values, r = 1 to n, in float64."""
    sums = squares.double().clamp_min(0).cumsum(-1)
    return sums / sums[-1].clamp_min(torch.finfo(torch.float64).tiny)


def energy_of(w: Tensor) -> float:
    """|W|^2 in float64, above 0 even for a weight of zeros, so that shares of it are numbers."""
    return max(float(w.double().square().sum()), 1e-300)


def equal_energy(spectra: Sequence[Tensor], multiple: int = 1, most: int = 64) -> list[tuple[int, ...]]:
    """Return ascending ranks, one per spectrum of squared singular values, that keep equal parts of the energy of each.

    The steps are even in the ranks of the longest spectrum.  The last has full rank everywhere.
    """
    parts = [kept(squares) for squares in spectra]
    longest = max(parts, key=len)
    path = []
    for rank in grid(len(longest), multiple, most)[:-1]:
        ranks = [int((part < longest[rank - 1]).sum()) + 1 for part in parts]
        path.append(tuple(rounded(r, multiple, len(part)) for r, part in zip(ranks, parts)))
    return [*path, tuple(map(len, parts))]
