"""Unfolding, mode product and leading subspaces of tensors whose first `batch` axes count independent tensors."""

import math

import torch
from torch import Tensor


def unfold(x: Tensor, mode: int, batch: int = 0) -> Tensor:
    """X_(mode), shape (..., n_mode, product of the other sizes)."""
    return x.movedim(batch + mode, batch).reshape(*x.shape[:batch], x.shape[batch + mode], -1)


def mode_product(x: Tensor, matrix: Tensor, mode: int, batch: int = 0) -> Tensor:
    """Y_(mode) = matrix X_(mode), matrix (..., m, n_mode); the mode becomes m long."""
    others = [size for axis, size in enumerate(x.shape) if axis >= batch and axis != batch + mode]
    y = (matrix @ unfold(x, mode, batch)).reshape(*x.shape[:batch], matrix.shape[-2], *others)
    return y.movedim(batch, batch + mode)


def wide(x: Tensor) -> Tensor:
    """bf16 and f16 as float32, in which their sums are computed; float32 and float64 as they are."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def leading_vectors(matrix: Tensor, rank: int, columns: bool = False) -> Tensor:
    """The `rank` leading left singular vectors of (..., n, m), from the eigenvectors of its Gram matrix.

    In float64: a float32 Gram matrix would lose singular values below sqrt(eps) = 3e-4 of the largest.  The
    derivative is that of perturbation theory, dv_k = sum_i v_i (v_i^T dG v_k) / (l_k - l_i) (Kato 1966, section II.2),
    with i over the vectors cut off: what is right for every function of the subspace, and finite where kept
    eigenvalues coincide.  `columns` adds i over the kept ones, for functions of the single columns.  A pair without
    a gap contributes nothing.
    """
    y = matrix.double()
    gram = y @ y.mT
    values, vectors = torch.linalg.eigh(gram.detach())
    values, vectors = values.flip(-1), vectors.flip(-1)
    kept = vectors[..., :rank]
    if gram.requires_grad:
        first = 0 if columns else rank
        others, gap = vectors[..., first:], values[..., None, :rank] - values[..., first:, None]
        closed = gap.abs() <= 1e-14 * values[..., :1, None]
        turn = others @ ((others.mT @ gram @ kept) / torch.where(closed, math.inf, gap))
        kept = kept + (turn - turn.detach())
    return kept.to(matrix.dtype)
