"""What the SVD, EVBMF and hierarchical Tucker of stage 3 are timed against: the rows of `bench kernels`."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from contract import SVD, Leaf, Node, Tucker
from stage3_torch import evbmf, evbmf_spectrum, ht, svd, tucker, unht, unsvd, untucker

from ..row import Row


def _planted(rows: int, columns: int, rank: int, noise: float, seed: int = 0) -> Tensor:
    """Return a matrix of that rank with entries of about unit variance, in noise of that standard deviation."""
    generator = torch.Generator().manual_seed(seed)
    draw = partial(torch.randn, generator=generator)
    return draw(rows, rank) @ draw(rank, columns) / rank**0.5 + noise * draw(rows, columns)


def _distance(x: Tensor, back: Tensor) -> float:
    return float(torch.linalg.vector_norm(x.double() - back.double()) / torch.linalg.vector_norm(x.double()))


def _svd_error(x: Tensor, code: SVD[Tensor]) -> float:
    return _distance(x, unsvd(code))


def _tree_error(x: Tensor, code: Leaf[Tensor] | Node[Tensor] | Tucker[Tensor]) -> float:
    return _distance(x, untucker(code) if isinstance(code, Tucker) else unht(code))


def _full_svd(x: Tensor, rank: int) -> SVD[Tensor]:
    u, s, vt = torch.linalg.svd(x, full_matrices=False)
    return SVD(u[:, :rank], s[:rank], vt[:rank])


def svd_cases(device: str = "cpu") -> list[Row]:
    """Return rows of a truncated SVD against the full one, on a flat spectrum and on one of low rank in noise."""
    spectra = {"noise": _planted(512, 4608, 1, 1.0), "rank 64 in noise": _planted(512, 4608, 64, 0.5)}
    return [
        Row(
            f"svd of 512x4608, rank 128, {name}",
            "torch.linalg.svd, full",
            partial(svd, x, 128),
            partial(_full_svd, x, 128),
            3.0,
            partial(_svd_error, x),
        )
        for name, x in ((name, x.to(device)) for name, x in spectra.items())
    ]


def evbmf_cases(device: str = "cpu") -> list[Row]:
    """Return EVBMF against the same on a full SVD; the error is that of its rank, against the planted one."""
    x = _planted(512, 4608, 64, 0.5).to(device)

    def theirs() -> Any:
        return evbmf_spectrum(torch.linalg.svd(x, full_matrices=False)[1], (512, 4608))

    return [
        Row(
            "evbmf of 512x4608",
            "the same on torch.linalg.svd, full",
            partial(evbmf, x),
            theirs,
            5.0,
            lambda result: abs(int(result.rank) - 64) / 64,
        )
    ]


def ht_cases(device: str = "cpu") -> list[Row]:
    """Return rows against our own Tucker at equal ranks of the modes; the inner nodes keep all they have."""
    x = _planted(256, 2304, 64, 0.5).reshape(256, 256, 3, 3).to(device)
    rows = []
    for rank in (64, 128):
        ranks = (rank, rank, 3, 3)
        rows.append(
            Row(
                f"ht of 256x256x3x3, ranks {rank}",
                "tucker at equal ranks",
                partial(ht, x, (rank, rank, 9, 3, 3, 9)),
                partial(tucker, x, ranks),
                0.5,
                partial(_tree_error, x),
            )
        )
    return rows
