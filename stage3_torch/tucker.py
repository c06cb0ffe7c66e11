"""Tucker decomposition from Gram matrices, batched and differentiable; the fast one."""

from collections.abc import Sequence

import torch  # noqa: F401  # the examples use it
from torch import Tensor

from checks import check_count, check_factors, check_modes, check_ranks, require
from contract import Tucker

from .checks import check_tensor, check_tensors, narrow, wide
from .tensor import guarded, leading_basis, mode_product


def tucker(
    x: Tensor, ranks: Sequence[int], modes: Sequence[int] | None = None, sweeps: int = 3, batch: int = 0
) -> Tucker[Tensor]:
    """min |x - core x_1 U_1 ... x_d U_d|, U_i (..., n_i, ranks[i]) orthonormal, one for each of `modes` (default: all).

    HOSVD start and `sweeps` of orthogonal iteration (De Lathauwer et al. 2000a, b); the first `batch` axes of x count
    independent tensors, and modes are counted after them.  U_i are eigenvectors of X_(i) X_(i)^T.  Differentiable
    wherever kept and cut eigenvalues of each of these differ, as a function of the subspaces.

    Args:
        x: floats, with at least one axis that is none of the batch.
        ranks: how many columns the basis of each mode keeps.
        modes: the axes to compress, counted after the batch axes, from either end; None for all.
        sweeps: how many passes of orthogonal iteration follow the start.
        batch: how many of the first axes of x count independent arrays.

    Returns:
        Tucker(core, factors): the core with ranks[i] in place of the size of modes[i], one basis for each mode;
        all with the batch axes in front.

    Raises:
        ValueError: x, ranks, modes, sweeps or batch cannot be used; the sentence says which.

    Example:
        >>> code = tucker(torch.ones((4, 3, 2)), (1, 1, 1))
        >>> tuple(code.core.shape), [tuple(factor.shape) for factor in code.factors]
        ((1, 1, 1), [(4, 1), (3, 1), (2, 1)])
    """
    check_tensor(x)
    require(0 <= batch < x.ndim, "batch", batch, f"in 0 to {x.ndim - 1} for {x.ndim} axes")
    modes = check_modes(modes, x.ndim - batch)
    check_count(sweeps)
    ranks = check_ranks(ranks, modes, x.shape[batch:])
    size = x.ndim - batch
    order = [*(mode for mode in range(size) if mode not in modes), *modes]  # `modes` last, where products need no copy
    y, scale = guarded(wide(x).permute(*range(batch), *(batch + mode for mode in order)).contiguous(), batch)
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
    return Tucker(narrow(core * scale, x.dtype), tuple(bases[i].to(x.dtype) for i in places))


def _project(x: Tensor, bases: dict[int, Tensor], batch: int) -> Tensor:
    """x x_i U_i^T for the modes i given."""
    for mode, basis in bases.items():
        x = mode_product(x, basis.mT, mode, batch)
    return x


def untucker(code: Tucker[Tensor], modes: Sequence[int] | None = None) -> Tensor:
    """x_hat = core x_1 U_1 ... x_d U_d over `modes`; the batch axes are those that the factors have before (n, r).

    Args:
        code: what `tucker` returned.
        modes: the modes given to `tucker`; None for all.

    Returns:
        The approximation, in the shape of x.

    Raises:
        ValueError: the factors do not fit the core or the modes.

    Example:
        >>> untucker(tucker(torch.ones(4, 3), (1,), modes=(0,)), modes=(0,)).shape
        torch.Size([4, 3])
    """
    require(len(code.factors) > 0, "code.factors", code.factors, "at least one matrix")
    batch = code.factors[0].ndim - 2
    require(
        0 <= batch < code.core.ndim, "code.core.ndim", code.core.ndim, f"above {batch}, the batch axes of the factors"
    )
    modes = check_modes(modes, code.core.ndim - batch)
    check_factors(code.factors, [code.core.shape[batch + mode] for mode in modes], code.core.shape[:batch])
    x, factors = check_tensors(Tucker(code.core, tuple(code.factors)))
    for mode, factor in zip(modes, factors):
        x = mode_product(x, factor, mode, batch)
    return narrow(x, code.core.dtype)
