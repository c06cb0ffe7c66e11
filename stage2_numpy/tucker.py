"""Tucker decomposition by contraction, one mode at a time: no Kronecker product is ever formed."""

from collections.abc import Sequence

from numpy.typing import NDArray

from checks import check_count, check_factors, check_input, check_modes, check_ranks, require
from contract import Tucker

from .svd import svd
from .tensor import mode_product, unfold


def tucker(x: NDArray, ranks: Sequence[int], modes: Sequence[int] | None = None, sweeps: int = 3) -> Tucker[NDArray]:
    """min |x - core x_1 U_1 ... x_d U_d|, U_i (n_i, ranks[i]) orthonormal, one for each of `modes` (default: all).

    HOSVD start and `sweeps` of orthogonal iteration (De Lathauwer et al. 2000a, b): x is contracted with every other
    basis in turn, and the next basis comes from the Jordan-Wielandt eigenproblem of `svd`.
    """
    check_input(x)
    modes = check_modes(modes, x.ndim)
    check_count(sweeps)
    ranks = check_ranks(ranks, modes, x.shape)
    bases = {mode: svd(unfold(x, mode), rank).u for mode, rank in zip(modes, ranks)}
    for _ in range(sweeps):
        for mode, rank in zip(modes, ranks):
            bases[mode] = svd(unfold(_project(x, bases, skip=mode), mode), rank).u
    return Tucker(_project(x, bases), tuple(bases.values()))


def _project(x: NDArray, bases: dict[int, NDArray], skip: int | None = None) -> NDArray:
    """x x_i U_i^T for every mode i but `skip`."""
    for mode, basis in bases.items():
        x = x if mode == skip else mode_product(x, basis.T, mode)
    return x


def untucker(code: Tucker[NDArray], modes: Sequence[int] | None = None) -> NDArray:
    """x_hat = core x_1 U_1 ... x_d U_d over `modes`."""
    require(code.core.ndim >= 1, "code.core.ndim", code.core.ndim, "at least 1")
    modes = check_modes(modes, code.core.ndim)
    check_factors(code.factors, [code.core.shape[mode] for mode in modes])
    x = code.core
    for mode, factor in zip(modes, code.factors):
        x = mode_product(x, factor, mode)
    return x
