"""Second moments (..., n, n) that can be relied on: without a mean, shrunk where rows are few, with a Cholesky root."""

import torch
from torch import Tensor

from checks import require

ROUNDING = 1e-12  # of E[x^2]: what is left of a covariance that vanishes, as constant images have, is below it


def _level(moment: Tensor) -> Tensor:
    """The mean of the diagonal of moment (..., n, n), on the diagonal."""
    mean = moment.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    return mean * torch.eye(moment.shape[-1], dtype=moment.dtype, device=moment.device)


def ridge(moment: Tensor, part: float) -> Tensor:
    """moment (..., n, n) + part x the mean of its diagonal on the diagonal."""
    return moment + part * _level(moment)


def shrinkage(moment: Tensor, rows: int) -> Tensor:
    """How far a moment (..., n, n) of so many rows is better moved to its mean diagonal, in [0, 1] (..., 1, 1).

    The oracle approximating shrinkage (Chen, Wiesel, Eldar & Hero 2010, eq. 23): next to nothing where rows are many;
    where they are fewer than n, directions that no row had are not taken for free.
    """
    n, square = moment.shape[-1], moment.square().sum((-2, -1))
    trace = moment.diagonal(dim1=-2, dim2=-1).sum(-1)
    excess = (rows + 1 - 2 / n) * (square - trace.square() / n)
    share = ((1 - 2 / n) * square + trace.square()) / excess.clamp_min(torch.finfo(moment.dtype).tiny)
    return share.clamp(0, 1)[..., None, None]


def shrunk(moment: Tensor, share: Tensor) -> Tensor:
    """(1 - share) moment + share x the mean of its diagonal on the diagonal."""
    return moment.lerp(_level(moment), share)


def covariance(moment: Tensor, mean: Tensor) -> Tensor:
    """E[x x^T] - E[x] E[x]^T (..., n, n), positive definite also where only rounding is left of it."""
    return ridge(moment, ROUNDING) - mean[..., :, None] * mean[..., None, :]


def root(moment: Tensor, damping: float) -> Tensor:
    """L (..., n, n) with L L^T = moment + damping x its mean diagonal, or ten times that where rounding asks for it."""
    identity = torch.eye(moment.shape[-1], dtype=moment.dtype, device=moment.device)
    known = moment.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] > 0
    moment = torch.where(known, moment, identity)  # no input or no gradient: any metric is as good
    while True:
        root, failed = torch.linalg.cholesky_ex(ridge(moment, damping))
        if not bool(failed.any()):
            return root
        require(damping < 1, "moment", "NaN or far from it", "positive semidefinite")
        damping *= 10
