"""Ranks from the singular values of a layer's matricisations."""

from collections.abc import Sequence

import torch
from torch import Tensor

from stage3_torch.tensor import syrk


def rounded(rank: int, multiple: int, most: int) -> int:
    """The rank rounded up to a multiple, but at most the full one."""
    return min(-(-rank // multiple) * multiple, most)


def grid(largest: int, multiple: int = 1, most: int = 128) -> list[int]:
    """At most `most` multiples, evenly spaced, ascending, and the largest.

    Finer steps than 1/128 of the ranks do not pay for planning time.
    """
    step = multiple * -(-largest // (multiple * most))
    return [*range(step, largest, step), largest]


def spectrum(matrices: Tensor) -> Tensor:
    """Squared singular values of (g, m, n), descending, summed over the first axis, in float64.

    Eigenvalues of the smaller Gram matrix: exact to rounding as squares, and many times faster than an SVD.
    """
    a = matrices.double()
    a = a if a.shape[-2] <= a.shape[-1] else a.mT
    return torch.linalg.eigvalsh(syrk(a)).clamp_min(0).sum(0).flip(-1)


def kept(squares: Tensor) -> Tensor:
    """The part of the energy in the first 1, 2, ..., all of the squared singular values, in float64."""
    sums = squares.double().clamp_min(0).cumsum(-1)
    return sums / sums[-1].clamp_min(torch.finfo(torch.float64).tiny)


def equal_energy(spectra: Sequence[Tensor], multiple: int = 1, most: int = 64) -> list[tuple[int, ...]]:
    """Ranks, one per spectrum of squared singular values, that keep equal parts of the energy of each; ascending.

    The steps are even in the ranks of the longest spectrum.  The last has full rank everywhere.
    """
    parts = [kept(squares) for squares in spectra]
    longest = max(parts, key=len)
    path = []
    for rank in grid(len(longest), multiple, most)[:-1]:
        found = [int((part < longest[rank - 1]).sum()) + 1 for part in parts]
        path.append(tuple(rounded(r, multiple, len(part)) for r, part in zip(found, parts)))
    return [*path, tuple(map(len, parts))]
