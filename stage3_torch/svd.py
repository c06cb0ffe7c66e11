"""Truncated singular value decomposition, batched over every axis before the last two.

Two routes, chosen by dtype alone, so that no number has to be read back from a device:

- float64: LAPACK's, accurate to eps |x|.
- float32: the eigenvectors of the Gram matrix of the shorter side, in float64.  Squaring loses half the digits, and
  float64 has more than twice those of float32: the eigenvalues err by 1e-16 s_max^2, the singular values therefore by
  1e-8 s_max at most, below the 6e-8 s_max to which float32 rounds x itself.  What the Gram matrix cannot give is
  orthonormal vectors on the longer side where s is small; a Householder QR of x^T u does that for every spectrum,
  zero included, and its triangle is diag(s) up to the same 1e-8 s_max.  Only `rank` columns take part in it.
"""

import torch
from torch import Tensor

from contract import SVD, check_rank, check_svd, need

from .checks import check_tensor
from .tensor import wide


def _gram(x: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """u (..., m, r), s (..., r) of x (..., m, n), m <= n, from x x^T = u diag(s^2) u^T."""
    y = x.double()
    values, u = torch.linalg.eigh(y @ y.mT)
    return u.flip(-1)[..., :rank].to(x.dtype), values.flip(-1)[..., :rank].clamp(min=0).sqrt().to(x.dtype)


def _orthonormal(a: Tensor) -> Tensor:
    """Columns that are orthogonal up to rounding, made orthonormal without turning them."""
    q, r = torch.linalg.qr(a)
    return q * torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1, 1).to(a.dtype)[..., None, :]


def gram_svd(x: Tensor, rank: int) -> SVD[Tensor]:
    """The route of float32: u and s from the Gram matrix of the shorter side, vt from the QR of x^T u."""
    if x.shape[-2] > x.shape[-1]:
        v, s, ut = gram_svd(x.mT, rank)
        return SVD(ut.mT, s, v.mT)
    u, s = _gram(x, rank)
    return SVD(u, s, _orthonormal(x.mT @ u).mT)


def left_basis(x: Tensor, rank: int) -> Tensor:
    """The first left singular vectors (..., m, r) of x (..., m, n), without the right ones where they cost extra."""
    if x.dtype == torch.float64:
        return torch.linalg.svd(x, full_matrices=False)[0][..., :rank]
    return _gram(x, rank)[0] if x.shape[-2] <= x.shape[-1] else gram_svd(x, rank).u


def svd(x: Tensor, rank: int) -> SVD[Tensor]:
    """x (..., m, n) ~ (u * s) @ vt of at most `rank`, the best such approximation (Eckart & Young 1936).

    Differentiable where the singular values are distinct and the kept ones positive (Townsend 2016).
    """
    check_tensor(x)
    need(x.ndim >= 2, "x.ndim", x.ndim, "at least 2")
    check_rank(rank)
    y = wide(x)
    if y.dtype != torch.float64:
        return SVD(*(part.to(x.dtype) for part in gram_svd(y, rank)))
    u, s, vt = torch.linalg.svd(y, full_matrices=False)
    return SVD(u[..., :rank], s[..., :rank], vt[..., :rank, :])


def unsvd(code: SVD[Tensor], rank: int | None = None) -> Tensor:
    """x_hat = (u * s) @ vt, shape (..., m, n)."""
    check_svd(code)
    u, s, vt = map(wide, code)
    return ((u * s[..., None, :]) @ vt).to(code.u.dtype)
