"""How much of the energy lies in how few coefficients."""

import math

import torch
from torch import Tensor


def explained(c: Tensor, order: Tensor | None = None) -> Tensor:
    """v_n = sum of the first n c^2 / sum of all, n = 0 to N, for c (..., N): largest first, or in the order given.

    The coefficients being orthonormal, 1 - v_n is the squared relative error of keeping n of them (Parseval).
    """
    energy = c.square()
    energy = energy.sort(dim=-1, descending=True).values if order is None else energy[..., order]
    total = energy.cumsum(-1) / energy.sum(-1, keepdim=True)
    return torch.cat([torch.zeros_like(total[..., :1]), total.clamp(max=1)], -1)


def needed(v: Tensor, share: float) -> Tensor:
    """Return the smallest n / N with v_n >= share, for the curves v (..., N + 1) of `explained`."""
    return (v < share * (1 - 1e-12)).sum(-1) / (v.shape[-1] - 1)  # 1e-12: the rounding of a sum that is the whole


def gini(c: Tensor) -> Tensor:
    """G = 1 - 2 sum_k |c|_(k) / |c|_1 (N - k + 1/2) / N, |c| ascending: 0 if all are equal, 1 - 1/N if one is not 0.

    The Gini index as a measure of sparsity (Hurley & Rickard 2009, section II), unchanged by scale and, unlike the
    coding gain of Jayant & Noll 1984, by how small the smallest ones are.  Gaussian numbers have sqrt(2) - 1 = 0.414.
    """
    a = c.abs().sort(dim=-1).values
    n = a.shape[-1]
    weight = (n - torch.arange(1, n + 1, dtype=a.dtype) + 0.5) / n
    return 1 - 2 * (a * weight).sum(-1) / a.sum(-1)


def positions(n: int, kept: int) -> float:
    """log2 C(n, kept) / 32: which of the n are kept, in numbers of 32 bits (enumerative coding, Cover 1973)."""
    log = math.lgamma(n + 1) - math.lgamma(kept + 1) - math.lgamma(n - kept + 1)
    return log / math.log(2) / 32


def affordable(n: int, fraction: float) -> int:
    """Return the most coefficients that fit, with their positions, into fraction * n numbers."""
    low, high = 0, int(fraction * n)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle + positions(n, middle) <= fraction * n else (low, middle - 1)
    return low
