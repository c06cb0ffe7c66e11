"""Truncated singular value decomposition, batched over every axis before the last two.

Two routes, chosen by dtype alone, so that no number has to be read back from a device:

- float64: LAPACK's, accurate to eps |x|.
- float32: the eigenvectors of the Gram matrix of the shorter side, in float64.  Squaring loses half the digits, and
  float64 has more than twice those of float32: the eigenvalues err by 1e-16 s_max^2, the singular values therefore by
  1e-8 s_max at most, below the 6e-8 s_max to which float32 rounds x itself.  What the Gram matrix cannot give is
  orthonormal vectors on the longer side where s is small; a Householder QR of x^T u does that for every spectrum,
  zero included, and its triangle is diag(s) up to the same 1e-8 s_max.  Only `rank` columns take part in it.

Neither is differentiated itself: autograd's rules divide by the gaps between all singular values, those cut off
included, and give NaN for two filters pruned to zero.  `_turning` asks for a gap only where the result does.
"""

import torch
from torch import Tensor

from checks import check_rank, check_svd, require
from contract import SVD

from .checks import check_tensor, check_tensors, narrow, wide
from .tensor import guarded, syrk


def _left(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return all left singular vectors (..., m, m) and values (..., m) of x (..., m, n), m <= n, in float64."""
    if x.dtype == torch.float64:
        u, s, _ = torch.linalg.svd(x, full_matrices=False)
        return u, s
    y = x.double()
    values, u = torch.linalg.eigh(syrk(y))
    return u.flip(-1), values.flip(-1).clamp(min=0).sqrt()


def _turning(x: Tensor, u: Tensor, s: Tensor, rank: int) -> Tensor:
    """Give u[:, :rank] the derivative du_k = sum_i u_i (u_i^T dG u_k) / (s_k^2 - s_i^2), G = x x^T (Kato 1966, II.2).

    A pair without a gap contributes nothing.  For two cut vectors that is exact; for two kept ones it leaves the
    choice of basis within their plane alone, on which u u^T and hence x_hat = u (u^T x) do not depend.
    """
    kept = u[..., :rank]
    if not (torch.is_grad_enabled() and x.requires_grad):
        return kept
    y, near = x.double(), s[..., None, :rank] - s[..., :, None]
    tied = near.abs() <= 64 * torch.finfo(s.dtype).eps * s[..., None, :1]  # 64: what LAPACK leaves of equal values
    gap = torch.where(tied, torch.inf, near * (s[..., None, :rank] + s[..., :, None]))
    turn = u @ ((u.mT @ (y @ (y.mT @ kept))) / gap)
    return kept + (turn - turn.detach())


def _orthonormal(a: Tensor) -> Tensor:
    """Make columns that are orthogonal up to rounding orthonormal, without turning them."""
    q, r = torch.linalg.qr(a)
    return q * torch.where(r.diagonal(dim1=-2, dim2=-1) < 0, -1, 1).to(a.dtype)[..., None, :]


def _wide_svd(x: Tensor, rank: int) -> SVD[Tensor]:
    """Take u, s from the shorter side m of x (..., m, n), m <= n, and vt from the QR of x^T u."""
    u, s = _left(x.detach())
    kept = _turning(x, u, s, rank).to(x.dtype)
    s = s[..., :rank].to(x.dtype)
    y = x.mT @ kept
    v = _orthonormal(y.detach())
    if y.requires_grad:  # s = |y| and v = y / s: what is constant above gets the derivative of these
        norm = torch.linalg.vector_norm(y, dim=-2)
        unit = y / torch.where(norm > 0, norm, 1)[..., None, :]
        s, v = s + (norm - norm.detach()), v + (unit - unit.detach())
    return SVD(kept, s, v.mT)


def left_basis(x: Tensor, rank: int) -> Tensor:
    """Return the first r left singular vectors of x (..., m, n), without the right ones where they cost extra."""
    if x.shape[-2] > x.shape[-1]:
        return _wide_svd(x.mT, rank).vt.mT
    return _turning(x, *_left(x.detach()), rank).to(x.dtype)


def svd(x: Tensor, rank: int) -> SVD[Tensor]:
    """x ~ (u * s) @ vt, the best approximation of at most `rank` in the Frobenius norm (Eckart & Young 1936).

    x_hat is differentiable once where the kept singular values differ from the cut ones; u, s and vt by themselves
    where the kept ones differ from each other as well, and are positive.

    Args:
        x: matrices of floats (..., m, n).
        rank: how many singular values to keep; more than there are means all.

    Returns:
        SVD(u (..., m, r), s (..., r), vt (..., r, n)) in the dtype of x.

    Raises:
        ValueError: x is no tensor of finite matrices of floats, or rank is below 1.

    Example:
        >>> svd(torch.diag(torch.tensor([3.0, 2.0, 1.0])), 2).s
        tensor([3., 2.])
    """
    check_tensor(x)
    require(x.ndim >= 2, "x.ndim", x.ndim, "at least 2")
    check_rank(rank)
    y, scale = guarded(wide(x), x.ndim - 2)
    if x.shape[-2] <= x.shape[-1]:
        u, s, vt = _wide_svd(y, rank)
    else:
        v, s, ut = _wide_svd(y.mT, rank)
        u, vt = ut.mT, v.mT
    return SVD(u.to(x.dtype), narrow(s * scale[..., 0], x.dtype), vt.to(x.dtype))


def unsvd(code: SVD[Tensor]) -> Tensor:
    """x_hat = (u * s) @ vt.

    Args:
        code: what `svd` returned.

    Returns:
        The approximation (..., m, n).

    Raises:
        ValueError: the three arrays do not fit, or are not of one floating dtype.

    Example:
        >>> unsvd(svd(torch.diag(torch.tensor([3.0, 2.0, 1.0])), 2)).diagonal()
        tensor([3., 2., 0.])
    """
    check_svd(code)
    u, s, vt = check_tensors(code)
    return narrow((u * s[..., None, :]) @ vt, code.u.dtype)
