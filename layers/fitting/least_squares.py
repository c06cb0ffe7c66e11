"""What a layer's weight would best be: least squares on the sums over what it reads and what it is to put out."""

import torch
from torch import Tensor

from ..calibration import covariance, ridge, shrinkage, shrunk
from ..factored import grouped_weight
from ..network import Layer
from .targets import Sums

RIDGE = 1e-3  # towards the dense weight, of the mean power of an input


def solution(solved: Layer, sums: Sums, absorbed: bool) -> tuple[Tensor, Tensor]:
    """E[x x^T] (g, k, k), of x less its mean where that is absorbed, and W* (g, o, i, h, w): near the weight it has."""
    xx, yx, x, y = (sums[key] / sums["rows"] for key in ("xx", "yx", "x", "y"))
    if absorbed:
        xx, yx = covariance(xx, x), yx - y[:, :, None] * x[:, None, :]
    w = grouped_weight(solved)
    share = shrinkage(xx, sums["rows"])  # of inputs that are taken for white, and for right as they are
    step = (1 - share) * (yx - w.flatten(2) @ xx)
    xx = shrunk(xx, share)
    power = xx.diagonal(dim1=1, dim2=2).mean(1)[:, None, None]
    identity = torch.eye(xx.shape[-1], dtype=xx.dtype, device=xx.device)
    solvable = torch.where(power > 0, ridge(xx, RIDGE), identity)  # no input: nothing to learn from it
    step = torch.cholesky_solve(step.mT, torch.linalg.cholesky(solvable)).mT
    return xx, w + step.reshape(w.shape)


def on_support(xx: Tensor, target: Tensor, kept: Tensor) -> Tensor:
    """argmin |(W - T) L|_F, L L^T = A = xx (g, k, k) + ridge, over the W (g, o, i, h, w) that are 0 but where `kept`.

    Row by row the normal equations of the entries S that it keeps: W_S = (T A)_S (A_SS)^-1.
    """
    xx, rows, solved = ridge(xx, RIDGE), target.flatten(2), torch.zeros_like(target).flatten(2)
    wanted, kept = rows @ xx, kept.flatten(2).cpu()
    for group, output in kept.any(-1).nonzero().tolist():
        at = kept[group, output].nonzero()[:, 0].to(xx.device)
        factor = torch.linalg.cholesky_ex(xx[group][at[:, None], at]).L  # definite, by the ridge: nothing to read back
        solved[group, output, at] = torch.cholesky_solve(wanted[group, output, at][:, None], factor)[:, 0]
    return solved.reshape(target.shape)


def above(weight: Tensor, sums: Sums) -> Tensor:
    """W E[x] - E[y], flat."""
    x, y = sums["x"] / sums["rows"], sums["y"] / sums["rows"]
    return ((weight.flatten(2) @ x[:, :, None])[..., 0] - y).flatten()
