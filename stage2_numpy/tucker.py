"""Tucker decomposition by contraction, one mode at a time: no Kronecker product is ever formed."""

from collections.abc import Sequence

import numpy as np  # noqa: F401  # the examples use it
from numpy.typing import NDArray

from arrays import check_array, check_arrays, narrow, restored, scaled
from checks import check_count, check_factors, check_modes, check_ranks, require
from contract import Tucker

from .svd import svd
from .tensor import mode_product, unfold


def tucker(x: NDArray, ranks: Sequence[int], modes: Sequence[int] | None = None, sweeps: int = 3) -> Tucker[NDArray]:
    """min |x - core x_1 U_1 ... x_d U_d|, U_i (n_i, ranks[i]) orthonormal, one for each of `modes` (default: all).

    HOSVD start and `sweeps` of orthogonal iteration (De Lathauwer et al. 2000a, b): x is contracted with every other
    basis in turn, and the next basis comes from the Jordan-Wielandt eigenproblem of `svd`.

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
    y, exponent = scaled(check_array(x))
    modes = check_modes(modes, x.ndim)
    check_count(sweeps)
    ranks = check_ranks(ranks, modes, x.shape)
    bases = {mode: svd(unfold(y, mode), rank).u for mode, rank in zip(modes, ranks)}
    for _ in range(sweeps):
        for mode, rank in zip(modes, ranks):
            bases[mode] = svd(unfold(_project(y, bases, skip=mode), mode), rank).u
    return narrow(Tucker(restored(_project(y, bases), exponent), tuple(bases.values())), x.dtype)


def _project(x: NDArray, bases: dict[int, NDArray], skip: int | None = None) -> NDArray:
    """x x_i U_i^T for every mode i but `skip`."""
    for mode, basis in bases.items():
        x = x if mode == skip else mode_product(x, basis.T, mode)
    return x


def untucker(code: Tucker[NDArray], modes: Sequence[int] | None = None) -> NDArray:
    """x_hat = core x_1 U_1 ... x_d U_d over `modes`.

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
    x, factors = check_arrays(Tucker(code.core, tuple(code.factors)))
    for mode, factor in zip(modes, factors):
        x = mode_product(x, factor, mode)
    return narrow(x, code.core.dtype)
