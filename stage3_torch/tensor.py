"""Unfolding, mode product and leading subspaces of tensors whose first `batch` axes count independent tensors."""

import math

import torch
from torch import Tensor

from .checks import readable

SMALL = 1e-2  # of the largest eigenvalue of a Gram matrix
TINY = 1e-20  # of |x|^2 in float32, whose least normal number is 1e-38
HALVED = 256  # rows of a product with itself, from which on two halves and what is between them take less time


def unfold(x: Tensor, mode: int, batch: int = 0) -> Tensor:
    """X_(mode), shape (..., n_mode, product of the other sizes)."""
    return x.movedim(batch + mode, batch).reshape(*x.shape[:batch], x.shape[batch + mode], -1)


def mode_product(x: Tensor, matrix: Tensor, mode: int, batch: int = 0) -> Tensor:
    """Y_(mode) = matrix X_(mode), matrix (..., m, n_mode); the mode becomes m long."""
    modes, head = x.ndim - batch, x.shape[:batch]
    if modes >= 2 and mode >= modes - 2:  # the last two axes are a matrix already: nothing to copy
        lifted = matrix.reshape(*head, *[1] * (modes - 2), *matrix.shape[-2:])
        return x @ lifted.mT if mode == modes - 1 else lifted @ x
    others = [size for axis, size in enumerate(x.shape) if axis >= batch and axis != batch + mode]
    return (matrix @ unfold(x, mode, batch)).reshape(*head, matrix.shape[-2], *others).movedim(batch, batch + mode)


def syrk(y: Tensor) -> Tensor:
    """y y^T (..., m, m) of y (..., m, n); as in the BLAS routine of that name, what is symmetric is computed once."""
    m = y.shape[-2]
    if m < HALVED:
        return y @ y.mT
    a, b = y[..., : m // 2, :], y[..., m // 2 :, :]
    across = a @ b.mT
    return torch.cat([torch.cat([syrk(a), across], -1), torch.cat([across.mT, syrk(b)], -1)], -2)


def guarded(x: Tensor, batch: int = 0) -> tuple[Tensor, Tensor]:
    """Do as `scaled`, but with s = 1 for float32 without gradients, whose squares float64 takes and holds."""
    if x.dtype == torch.float32 and not x.requires_grad:
        return x, x.new_ones(*x.shape[:batch], *[1] * (x.ndim - batch))
    return scaled(x, batch)


def gram(x: Tensor, mode: int, batch: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """X_(mode) X_(mode)^T (..., n_mode, n_mode); float32 would lose singular values below sqrt(eps) of the largest."""
    return syrk(unfold(x, mode, batch).to(dtype))


def scaled(x: Tensor, batch: int = 0) -> tuple[Tensor, Tensor]:
    """Return (y, s) with x = s y, s (*batch, 1, ...) powers of two and max |y| in [1, 2): exact, but for a factor.

    No square of y overflows and few vanish.  Where all |x| are below 4 times the least normal number, max |y| is less.
    """
    low, high = x.detach().reshape(*x.shape[:batch], -1).aminmax(dim=-1)
    largest = torch.maximum(high, -low).clamp_min(4 * torch.finfo(x.dtype).tiny)
    scale = (0.5 * largest / torch.frexp(largest).mantissa).reshape(*x.shape[:batch], *[1] * (x.ndim - batch))
    return x / scale, scale


def leading_vectors(gram: Tensor, rank: int, columns: bool = False) -> Tensor:
    """The `rank` leading eigenvectors of a Gram matrix (..., n, n), as columns.

    The derivative is that of perturbation theory, dv_k = sum_i v_i (v_i^T dG v_k) / (l_k - l_i) (Kato 1966, section
    II.2), with i over the vectors cut off: what is right for every function of the subspace, and finite where kept
    eigenvalues coincide.  `columns` adds i over the kept ones, for functions of the single columns.  A pair without
    a gap contributes nothing.
    """
    values, vectors = torch.linalg.eigh(gram.detach())
    values, vectors = values.flip(-1), vectors.flip(-1)
    kept = vectors[..., :rank]
    if gram.requires_grad:
        first = 0 if columns else rank
        others, gap = vectors[..., first:], values[..., None, :rank] - values[..., first:, None]
        closed = gap.abs() <= 1e-14 * values[..., :1, None]  # below the rounding errors of the eigenvalues
        turn = others @ ((others.mT @ gram @ kept) / torch.where(closed, math.inf, gap))
        kept = kept + (turn - turn.detach())
    return kept


def leading_basis(x: Tensor, mode: int, rank: int, batch: int = 0) -> Tensor:
    """The `rank` leading left singular vectors v_k of X_(mode), (..., n_mode, rank), as a basis of what they span.

    A Gram matrix in float32 takes half the time and errs by eps l_1, hence v_k by eps l_1 / l_k.  It serves for
    float32 numbers where no eigenvalue l_k that is kept is small, squares neither overflow nor vanish, and reading
    them costs nothing.
    """
    if x.dtype == torch.float32 and not x.requires_grad and readable(x):
        products = gram(x, mode, batch, torch.float32)
        square = products.diagonal(dim1=-2, dim2=-1).sum(-1)  # |x|^2
        if ((square > TINY) & (square < math.inf)).all():
            values, vectors = torch.linalg.eigh(products)
            if (values[..., -rank] > SMALL * values[..., -1]).all():
                return vectors[..., -rank:].flip(-1)
    return leading_vectors(gram(x, mode, batch), rank).to(x.dtype)
