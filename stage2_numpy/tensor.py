"""Unfolding and mode product by contraction."""

import numpy as np
from numpy.typing import NDArray


def unfold(x: NDArray, mode: int) -> NDArray:
    """X_(mode), shape (n_mode, product of the other sizes)."""
    return np.moveaxis(x, mode, 0).reshape(x.shape[mode], -1)


def mode_product(x: NDArray, matrix: NDArray, mode: int) -> NDArray:
    """y[.., i, ..] = sum_j matrix[i, j] x[.., j, ..] along `mode`."""
    return np.moveaxis(np.tensordot(matrix, x, (1, mode)), 0, mode)
