"""Sampled waves of any real frequency, fast and exact in large angles, and the factor that keeps their norm."""

from math import ceil, pi, sqrt

import torch
from torch import Tensor


def wave(
    turns: Tensor, shift: Tensor, scale: Tensor, n: int, complex: bool, dtype: torch.dtype, window: Tensor | None = None
) -> Tensor:
    """scale exp(2 pi i (turns t + shift)) for t = 0, ..., n - 1, (rows, n), or its real part; arguments (rows,).

    window (rows, A B), zero beyond n, is multiplied in place: the product it would be multiplied with needs no copy.

    With t = a B + b, B about sqrt(n), it is a product of two small factors, which are computed in float64: sqrt(n) / 2
    times fewer sines, no loss in large angles, and autograd keeps the factors instead of the angles.
    """
    block = ceil(sqrt(n))
    a = torch.arange(-(-n // block), dtype=torch.float64, device=turns.device)
    b = torch.arange(block, dtype=torch.float64, device=turns.device)
    whole = turns[:, None] * (a * block)
    coarse, fine = 2 * pi * (whole - whole.round()), 2 * pi * (turns[:, None] * b + shift[:, None])
    c, s = scale[:, None] * coarse.cos(), scale[:, None] * coarse.sin()
    if complex:
        left, right = torch.complex(c, s).to(dtype), torch.complex(fine.cos(), fine.sin()).to(dtype)
        full = left[:, :, None] * right[:, None, :]
    else:  # cos(x + y) = cos x cos y - sin x sin y
        left, right = torch.stack([c, -s], -1), torch.stack([fine.cos(), fine.sin()], -2)
        full = left.to(dtype) @ right.to(dtype)
    if window is not None:
        full.mul_(window.reshape(full.shape))
    return full.flatten(1)[:, :n]


def trig_scale(f: Tensor, n: int) -> Tensor:
    """sqrt(2 / n / (1 + D^2)), D = sin(2 pi f) / (2 n sin(pi f / n)): sqrt(1/n) at f = 0 and n, sqrt(2/n) between.

    |cos(pi f (2t+1) / 2n)|^2 = n/2 (1 + D).  Dividing by that would fit too, but it is 0 at f = n, and 1 + D^2 never.
    """
    turns = (f - n * (f / n).round()) / n  # in this order exact near the ends
    end = turns.abs() < 1e-9  # there D^2 = 1 with derivative 0
    ratio = torch.sin(2 * pi * (f - f.round())) / (2 * n * torch.sin(pi * torch.where(end, 0.5, turns)))
    return (2 / n / (1 + torch.where(end, 1.0, ratio).square())).sqrt()
