"""One mode of a CP sweep: a new factor B (..., r, n) from M = K^T X^T, G = K^T K and the current factor."""

from collections.abc import Callable

import torch
from torch import Tensor

from contract import RIDGE

Step = Callable[[Tensor, Tensor, Tensor], Tensor]  # (m, gram, now) -> factor


def solve(gram: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """(gram^-1 right, whether the Cholesky factor exists), without a word to the host.

    LAPACK answers in columns; as rows in memory, every product that follows is several times faster.
    """
    root, info = torch.linalg.cholesky_ex(gram.mT)  # symmetric: the transpose is in columns already
    return torch.cholesky_solve(right, root).contiguous(), (info == 0)[..., None, None]


def least_squares(ridge: float, identity: Tensor) -> Step:
    """argmin |X - B^T K^T|^2 + ridge |B - now|^2 (proximal point: the error cannot rise)."""
    damping = ridge * identity

    def step(m: Tensor, gram: Tensor, now: Tensor) -> Tensor:
        factor, ok = solve(gram + damping, torch.add(m, now, alpha=ridge))
        return torch.where(ok, factor, now)

    return step


def smallest(energy: Tensor, allowed: Tensor) -> Step:
    """argmin |B|^2 subject to |x - x_hat|^2 <= allowed (Phan et al. 2019, section III); energy = |x|^2.

    B = (G + mu I)^-1 M with the largest mu allowed.  With c_i = |v_i^T M|^2 in the eigenbasis of G the squared error
    is energy - sum c_i (g_i + 2 mu) / (g_i + mu)^2, which rises in mu: bisection to 12 digits, whose derivative is
    that of the equation it solves.  Where even mu = RIDGE is too much, the factor stays.
    """

    def step(m: Tensor, gram: Tensor, now: Tensor) -> Tensor:
        identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
        g, vectors = torch.linalg.eigh(gram.detach().double())
        g, c = g.clamp_min(0), (vectors.mT @ m.detach().double()).square().sum(-1)
        limit = (energy - allowed).detach()

        def fits(mu: Tensor) -> Tensor:
            return (c * (g + 2 * mu[..., None]) / (g + mu[..., None]).square()).sum(-1) >= limit

        low, high = torch.full_like(limit, RIDGE), torch.full_like(limit, 1e8)
        possible = fits(low)
        for _ in range(64):
            middle = (low * high).sqrt()
            enough = fits(middle)
            low, high = torch.where(enough, middle, low), torch.where(enough, high, middle)
        factor, ok = solve(gram + low[..., None, None].to(m.dtype) * identity, m)
        if m.requires_grad:  # one Newton step of value zero carries the derivative of mu
            fit = ((2 * m - gram @ factor) * factor).flatten(-2).sum(-1) - (energy - allowed)
            slope = (2 * c * low[..., None] / (g + low[..., None]) ** 3).sum(-1)
            mu = low + (fit - fit.detach()) / slope.clamp_min(torch.finfo(slope.dtype).tiny)
            factor, ok = solve(gram + mu[..., None, None].to(m.dtype) * identity, m)
        return torch.where(ok & possible[..., None, None], factor, now)

    return step


def normalise(factor: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """(norms, unit rows); a row of zeros keeps the direction it had before."""
    norms = torch.linalg.vector_norm(factor, dim=-1, keepdim=True)
    unit = factor / norms.clamp_min(torch.finfo(factor.dtype).tiny)
    return norms.squeeze(-1), torch.where(norms > 0, unit, before)
