"""Tucker decomposition from Gram matrices, batched and differentiable; the fast one."""

from collections.abc import Sequence

from torch import Tensor

from checks import check_count, check_factors, check_modes, check_ranks, require
from contract import Tucker

from .checks import check_tensor
from .tensor import leading_basis, mode_product, wide


def tucker(
    x: Tensor, ranks: Sequence[int], modes: Sequence[int] | None = None, sweeps: int = 3, batch: int = 0
) -> Tucker[Tensor]:
    """min |x - core x_1 U_1 ... x_d U_d|, U_i (..., n_i, ranks[i]) orthonormal, one for each of `modes` (default: all).

    HOSVD start and `sweeps` of orthogonal iteration (De Lathauwer et al. 2000a, b); the first `batch` axes of x count
    independent tensors, and modes are counted after them.  U_i are eigenvectors of X_(i) X_(i)^T.  Differentiable
    wherever kept and cut eigenvalues of each of these differ, as a function of the subspaces.
    """
    check_tensor(x)
    require(0 <= batch < x.ndim, "batch", batch, f"in 0 to {x.ndim - 1} for {x.ndim} axes")
    modes = check_modes(modes, x.ndim - batch)
    check_count(sweeps)
    ranks = check_ranks(ranks, modes, x.shape[batch:])
    size = x.ndim - batch
    order = [*(mode for mode in range(size) if mode not in modes), *modes]  # `modes` last, where products need no copy
    y = wide(x).permute(*range(batch), *(batch + mode for mode in order)).contiguous()
    places = range(size - len(modes), size)
    # the first basis of the start is not looked at: the first step of the first sweep replaces it
    bases = {i: leading_basis(y, i, rank, batch) for i, rank in zip(places, ranks) if sweeps == 0 or i > places[0]}
    rest = y
    for _ in range(sweeps):
        for i, rank in zip(places, ranks):
            rest = _project(y, {j: bases[j] for j in places if j != i}, batch)
            bases[i] = leading_basis(rest, i, rank, batch)
    core = mode_product(rest, bases[size - 1].mT, size - 1, batch) if sweeps else _project(y, bases, batch)
    core = core.permute(*range(batch), *(batch + order.index(mode) for mode in range(size)))
    return Tucker(core.to(x.dtype), tuple(bases[i].to(x.dtype) for i in places))


def _project(x: Tensor, bases: dict[int, Tensor], batch: int) -> Tensor:
    """x x_i U_i^T for the modes i given."""
    for mode, basis in bases.items():
        x = mode_product(x, basis.mT, mode, batch)
    return x


def untucker(code: Tucker[Tensor], modes: Sequence[int] | None = None) -> Tensor:
    """x_hat = core x_1 U_1 ... x_d U_d over `modes`; the batch axes are those that the factors have before (n, r)."""
    require(len(code.factors) > 0, "code.factors", code.factors, "at least one matrix")
    batch = code.factors[0].ndim - 2
    require(
        0 <= batch < code.core.ndim, "code.core.ndim", code.core.ndim, f"above {batch}, the batch axes of the factors"
    )
    modes = check_modes(modes, code.core.ndim - batch)
    check_factors(code.factors, [code.core.shape[batch + mode] for mode in modes], code.core.shape[:batch])
    x = wide(code.core)
    for mode, factor in zip(modes, code.factors):
        x = mode_product(x, wide(factor), mode, batch)
    return x.to(code.core.dtype)
