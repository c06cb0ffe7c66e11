"""Tucker decomposition of any subset of modes: Kronecker products and LAPACK's SVD, as in the textbook."""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from arrays import check_array, check_arrays, narrow
from checks import check_count, check_factors, check_modes, check_ranks, require
from contract import Tucker

from .tensor import unfold


def _kronecker(matrices: Sequence[NDArray]) -> NDArray:
    """A_1 kron A_2 kron ..."""
    return reduce(np.kron, matrices)


def _leading(matrix: NDArray, rank: int) -> NDArray:
    """Return the `rank` leading left singular vectors."""
    return scipy.linalg.svd(matrix, full_matrices=False)[0][:, :rank]


def tucker(x: NDArray, ranks: Sequence[int], modes: Sequence[int] | None = None, sweeps: int = 3) -> Tucker[NDArray]:
    """min |x - core x_1 U_1 ... x_d U_d|, U_i (n_i, ranks[i]) orthonormal, one for each of `modes` (default: all).

    HOSVD (De Lathauwer et al. 2000a, eq. 24; Kolda & Bader 2009, fig. 4.3), then `sweeps` of higher-order
    orthogonal iteration (De Lathauwer et al. 2000b; fig. 4.4): U_i from the SVD of X_(i) (U_1 kron ... kron U_d)
    without U_i.  The error of the start is at most sqrt(len(modes)) times the best one, and no sweep raises it.
    Ranks above what there is mean all there is.  Three sweeps come within 1e-3 of the relative error of convergence,
    on Gaussian and on trained 3 x 3 kernels.

    Args:
        x: an array of floats with at least one axis.
        ranks: how many columns the basis of each mode keeps.
        modes: the axes to compress, from either end; None for all.
        sweeps: how many passes of orthogonal iteration follow the start.

    Returns:
        Tucker(core, factors): the core with ranks[i] in place of the size of modes[i], one basis for each mode.

    Raises:
        ValueError: x, ranks, modes or sweeps cannot be used; the sentence says which.

    Example:
        >>> code = tucker(np.ones((4, 3, 2)), (1, 1, 1))
        >>> code.core.shape, [factor.shape for factor in code.factors]
        ((1, 1, 1), [(4, 1), (3, 1), (2, 1)])
    """
    y = check_array(x)
    modes = check_modes(modes, x.ndim)
    check_count(sweeps)
    ranks = check_ranks(ranks, modes, x.shape)
    bases = [np.eye(size, dtype=y.dtype) for size in y.shape]  # the modes left alone keep the identity
    for mode, rank in zip(modes, ranks):
        bases[mode] = _leading(unfold(y, mode), rank)
    unit = np.ones((1, 1), y.dtype)
    for _ in range(sweeps):
        for mode, rank in zip(modes, ranks):
            others = _kronecker([unit, *bases[:mode], *bases[mode + 1 :]])
            bases[mode] = _leading(unfold(y, mode) @ others, rank)
    core = (_kronecker(bases).T @ y.reshape(-1)).reshape([basis.shape[1] for basis in bases])
    return narrow(Tucker(core, tuple(bases[mode] for mode in modes)), x.dtype)


def untucker(code: Tucker[NDArray], modes: Sequence[int] | None = None) -> NDArray:
    """vec(x_hat) = (U_1 kron ... kron U_d) vec(core), the identity for modes not in `modes`.

    Args:
        code: what `tucker` returned.
        modes: the modes given to `tucker`; None for all.

    Returns:
        The approximation, in the shape of x.

    Raises:
        ValueError: the factors do not fit the core or the modes.

    Example:
        >>> untucker(tucker(np.ones((4, 3)), (1,), modes=(0,)), modes=(0,)).shape
        (4, 3)
    """
    require(code.core.ndim >= 1, "code.core.ndim", code.core.ndim, "at least 1")
    modes = check_modes(modes, code.core.ndim)
    check_factors(code.factors, [code.core.shape[mode] for mode in modes])
    core, factors = check_arrays(Tucker(code.core, tuple(code.factors)))
    bases = [np.eye(size, dtype=core.dtype) for size in core.shape]
    for mode, factor in zip(modes, factors):
        bases[mode] = factor
    return narrow((_kronecker(bases) @ core.reshape(-1)).reshape([len(basis) for basis in bases]), code.core.dtype)
