"""Truncated singular value decomposition, batched over every axis before the last two."""

import torch
from torch import Tensor

from contract import SVD, check_rank, need

from .checks import check_tensor


def svd(x: Tensor, rank: int) -> SVD[Tensor]:
    """x (..., m, n) ~ (u * s) @ vt of at most `rank`.

    Differentiable where the kept and the cut singular values are distinct (Townsend 2016).
    """
    check_tensor(x)
    need(x.ndim >= 2, "x.ndim", x.ndim, "at least 2")
    check_rank(rank)
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    return SVD(u[..., :rank], s[..., :rank], vt[..., :rank, :])


def unsvd(code: SVD[Tensor], rank: int | None = None) -> Tensor:
    """x_hat = (u * s) @ vt, shape (..., m, n)."""
    return (code.u * code.s[..., None, :]) @ code.vt
