"""Unfolding and mode product, as Kolda & Bader 2009 define them (sections 2.4 and 2.5)."""

import numpy as np
from numpy.typing import NDArray


def unfold(x: NDArray, mode: int) -> NDArray:
    """X_(mode), shape (n_mode, product of the other sizes); the other modes in order, the last one fastest."""
    others = [m for m in range(x.ndim) if m != mode]
    return x.transpose(mode, *others).reshape(x.shape[mode], -1)


def mode_product(x: NDArray, matrix: NDArray, mode: int) -> NDArray:
    """Y = x x_mode matrix, that is Y_(mode) = matrix X_(mode); matrix (m, n_mode) makes that mode m long."""
    others = [size for m, size in enumerate(x.shape) if m != mode]
    return np.moveaxis((matrix @ unfold(x, mode)).reshape(len(matrix), *others), 0, mode)
