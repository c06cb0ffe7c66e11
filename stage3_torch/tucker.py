"""Tucker decomposition from Gram matrices, batched and differentiable; the fast one."""

from collections.abc import Sequence

from torch import Tensor

from contract import Tucker, check_count, check_factors, check_modes, check_ranks, need

from .checks import check_tensor
from .tensor import leading_vectors, mode_product, unfold, wide


def tucker(
    x: Tensor, ranks: Sequence[int], modes: Sequence[int] | None = None, sweeps: int = 0, batch: int = 0
) -> Tucker[Tensor]:
    """min |x - core x_1 U_1 ... x_d U_d|, U_i (..., n_i, ranks[i]) orthonormal, one for each of `modes` (default: all).

    HOSVD start and `sweeps` of orthogonal iteration (De Lathauwer et al. 2000a, b); the first `batch` axes of x count
    independent tensors, and modes are counted after them.  U_i are eigenvectors of X_(i) X_(i)^T.  Differentiable
    wherever kept and cut eigenvalues of each of these differ, as a function of the subspaces.
    """
    check_tensor(x)
    need(0 <= batch < x.ndim, "batch", batch, f"in 0 to {x.ndim - 1} for {x.ndim} axes")
    modes = check_modes(modes, x.ndim - batch)
    check_count(sweeps)
    ranks = check_ranks(ranks, modes, x.shape[batch:])
    y = wide(x)
    bases = {mode: leading_vectors(unfold(y, mode, batch), rank) for mode, rank in zip(modes, ranks)}
    for _ in range(sweeps):
        for mode, rank in zip(modes, ranks):
            bases[mode] = leading_vectors(unfold(_project(y, bases, batch, skip=mode), mode, batch), rank)
    core = _project(y, bases, batch)
    return Tucker(core.to(x.dtype), tuple(basis.to(x.dtype) for basis in bases.values()))


def _project(x: Tensor, bases: dict[int, Tensor], batch: int, skip: int | None = None) -> Tensor:
    """x x_i U_i^T for every mode i but `skip`."""
    for mode, basis in bases.items():
        x = x if mode == skip else mode_product(x, basis.mT, mode, batch)
    return x


def untucker(
    code: Tucker[Tensor],
    ranks: Sequence[int] | None = None,
    modes: Sequence[int] | None = None,
    sweeps: int = 0,
    batch: int = 0,
) -> Tensor:
    """x_hat = core x_1 U_1 ... x_d U_d over `modes`; the batch axes are those that the factors have before (n, r)."""
    need(len(code.factors) > 0, "code.factors", code.factors, "at least one matrix")
    batch = code.factors[0].ndim - 2
    need(0 <= batch < code.core.ndim, "code.core.ndim", code.core.ndim, f"above {batch}, the batch axes of the factors")
    modes = check_modes(modes, code.core.ndim - batch)
    check_factors(code.factors, [code.core.shape[batch + mode] for mode in modes], code.core.shape[:batch])
    x = wide(code.core)
    for mode, factor in zip(modes, code.factors):
        x = mode_product(x, wide(factor), mode, batch)
    return x.to(code.core.dtype)
