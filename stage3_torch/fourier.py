"""The trigonometric transforms as matrix products: differentiable, on any device and in any float dtype."""

from functools import lru_cache

import torch
from torch import Tensor

from contract import check_axis, need
from stage2_numpy.fourier import dct_basis

from .checks import check_tensor


@lru_cache(maxsize=256)
def _basis(n: int, type: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """C (n, n), computed once in float64 and cast."""
    return torch.from_numpy(dct_basis(n, type).copy()).to(device, dtype)


def _along(x: Tensor, type: int, axis: int, inverse: bool) -> Tensor:
    check_tensor(x, values=not inverse)
    check_axis(axis, x.ndim)
    need(type in (1, 2, 3, 4), "type", type, "1, 2, 3 or 4")
    need(type != 1 or x.shape[axis] >= 2, "x.shape[axis]", x.shape[axis], "at least 2 for the DCT of type 1")
    c = _basis(x.shape[axis], type, x.dtype, x.device)
    return torch.movedim(torch.movedim(x, axis, -1) @ (c if inverse else c.T), -1, axis)


def dct(x: Tensor, type: int = 2, axis: int = -1) -> Tensor:
    """X = C x along `axis`, C orthonormal of type I to IV; every other axis is a batch axis."""
    return _along(x, type, axis, inverse=False)


def idct(y: Tensor, type: int = 2, axis: int = -1) -> Tensor:
    """x = C^T X along `axis`, the inverse and the adjoint of `dct`."""
    return _along(y, type, axis, inverse=True)
