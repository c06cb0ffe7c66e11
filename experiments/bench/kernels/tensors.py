"""What Tucker and CP of stage 3 are measured against: rows of `python -m experiments.bench kernels`."""

import warnings
from typing import Any

import torch
from torch import Tensor

from contract import CP
from stage3_torch import cp, tucker, uncp

from ..row import Row


def _noise(*shape: int) -> Tensor:
    """Return Gaussian float32: it has no low rank to find, the hardest case for an iteration."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _relative(x: Tensor, x_hat: Tensor) -> float:
    return float((x - x_hat).norm() / x.norm())


def tucker_cases(size: int = 512, rank: int = 256, sweeps: int = 3, device: str = "cpu") -> list[Row]:
    """Return Tucker-2 of a 3 x 3 kernel; tensorly stops when the error changes by less than 1e-4 (7 sweeps here)."""
    import tensorly
    from tensorly.decomposition import partial_tucker

    x = _noise(size, size, 3, 3).to(device)

    def theirs() -> Any:
        with tensorly.backend_context("pytorch", local_threadsafe=True):
            return partial_tucker(x, rank=[rank, rank], modes=[0, 1])[0]

    def error(result: Any) -> float:
        core, factors = result  # both return (core, factors)
        return _relative(x, torch.einsum("abhw,ia,jb->ijhw", core, *factors))

    work = f"Tucker-2 of {size}x{size}x3x3, ranks {rank}, {sweeps} sweeps"
    return [
        Row(work, "tensorly partial_tucker, torch", lambda: tucker(x, (rank, rank), (0, 1), sweeps), theirs, 12, error)
    ]


def cp_cases(size: int = 256, rank: int = 256, sweeps: int = 50, device: str = "cpu") -> list[Row]:
    """Return CP of a 3 x 3 kernel, as many sweeps each; tensorly from its SVD start, without its stopping rule."""
    import tensorly
    from tensorly.decomposition import parafac

    x = _noise(size, size, 3, 3).to(device)

    def theirs() -> Any:
        with warnings.catch_warnings(), tensorly.backend_context("pytorch", local_threadsafe=True):
            warnings.simplefilter("ignore", UserWarning)  # that the SVD start has only 3 vectors where rank > 3
            return parafac(x, rank, n_iter_max=sweeps, init="svd", tol=0, random_state=0)

    def error(result: Any) -> float:
        weights, factors = result  # both return (weights, factors)
        return _relative(x, uncp(CP(weights, tuple(factors))))

    work = f"CP of {size}x{size}x3x3, rank {rank}, {sweeps} sweeps"
    return [Row(work, "tensorly parafac, torch", lambda: cp(x, rank, sweeps), theirs, 50, error)]
