"""The decompositions at a budget: the largest ranks whose stored numbers fit, and the error they leave."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

import stage3_torch
from contract import KERNELS

Shape = Sequence[int]
SWEEPS = 20  # of CP: thirty more lower the error of trained 3 x 3 kernels by 0.001 at 1/32, by 0.03 at 1/2
TREE = ((0, 2), (1, 3))  # output channels with rows, input channels with columns: what becomes 1x1, kx1, 1xk, 1x1


class Decomposition(NamedTuple):
    """One way to factor a weight (o, i, h, w) or (o, i).

    `specs` go from few to many numbers; `numbers` counts what is stored, scales (the s of an SVD, the weights of a CP)
    absorbed into a factor.  That orthonormal columns could be coded in fewer numbers is not used.
    """

    kernel: str
    layout: str
    view: Callable[[Tensor], Tensor]  # (versions, *weight) -> (versions, *x)
    specs: Callable[[Shape], Iterator[dict[str, Any]]]
    numbers: Callable[[Shape, dict[str, Any]], int]


def _as_is(x: Tensor) -> Tensor:
    return x


def _channel(x: Tensor) -> Tensor:
    """View as (o, i h w): k x k, then 1 x 1."""
    return x.flatten(2)


def _spatial(x: Tensor) -> Tensor:
    """View as (i h, o w): k x 1, then 1 x k (Jaderberg et al. 2014)."""
    return x.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2)


def _svd_specs(shape: Shape) -> Iterator[dict[str, Any]]:
    yield from ({"rank": rank} for rank in range(1, min(shape) + 1))


def _svd_numbers(shape: Shape, spec: dict[str, Any]) -> int:
    return spec["rank"] * sum(shape)


def _tucker_specs(shape: Shape) -> Iterator[dict[str, Any]]:
    """Yield ranks of both channel modes in the proportion of the channels; the kernel axes stay (Kim et al. 2016)."""
    longest = max(shape[:2])
    for step in range(1, longest + 1):
        ranks = tuple(max(1, round(step * n / longest)) for n in shape[:2])
        yield {"ranks": ranks, "modes": (0, 1)}


def _tucker_numbers(shape: Shape, spec: dict[str, Any]) -> int:
    first, second = spec["ranks"]
    return first * shape[0] + second * shape[1] + first * second * math.prod(shape[2:])


def _cp_specs(shape: Shape) -> Iterator[dict[str, Any]]:
    most = math.prod(shape) // max(shape)
    yield from ({"rank": rank, "sweeps": SWEEPS} for rank in range(1, most + 1))


def _ht_specs(shape: Shape) -> Iterator[dict[str, Any]]:
    """Yield one cap for all nodes."""
    yield from ({"rank": rank, "tree": TREE} for rank in range(1, max(shape[0] * shape[2], shape[1] * shape[3]) + 1))


def _ht_numbers(shape: Shape, spec: dict[str, Any]) -> int:
    """Count the numbers node by node, as `ht` cuts them: none is longer than what the cuts before have left."""
    o, i, h, w = shape
    rank = spec["rank"]
    a = min(rank, o, i * h * w)
    b = min(rank, h, a * i * w)
    left = min(rank, a * b, i * w)
    c = min(rank, i, left * w)
    d = min(rank, w, left * c)
    right = min(rank, c * d, left)
    return o * a + h * b + a * b * left + i * c + w * d + c * d * right + left * right


MATRIX = (Decomposition("svd", "channel", _as_is, _svd_specs, _svd_numbers),)  # of a Linear, all others are SVDs too
CONV = (
    Decomposition("svd", "channel", _channel, _svd_specs, _svd_numbers),
    Decomposition("svd", "spatial", _spatial, _svd_specs, _svd_numbers),
    Decomposition("tucker", "channels", _as_is, _tucker_specs, _tucker_numbers),
    Decomposition("cp", "all", _as_is, _cp_specs, _svd_numbers),
    Decomposition("ht", "all", _as_is, _ht_specs, _ht_numbers),
)


def choose(method: Decomposition, shape: Shape, budget: float) -> tuple[dict[str, Any] | None, int]:
    """Return the spec that stores the most numbers within the budget, and how many; (None, 0) if rank 1 is too much."""
    best: tuple[dict[str, Any] | None, int] = None, 0
    for spec in method.specs(shape):
        count = method.numbers(shape, spec)
        if count > budget:
            break
        best = spec, count
    return best


def errors(method: Decomposition, x: Tensor, fraction: float) -> tuple[int, Tensor]:
    """Return (numbers stored, |x - x_hat| / |x| of each version) of x (versions, *shape); 1 where no rank fits."""
    y = method.view(x)
    spec, count = choose(method, y.shape[1:], fraction * y[0].numel())
    if spec is None:
        return 0, torch.ones(len(y), dtype=y.dtype)
    batch = {} if method.kernel == "svd" else {"batch": 1}  # svd takes every axis before the last two for a batch
    kernel = KERNELS[method.kernel]
    code = getattr(stage3_torch, kernel.encode)(y, **spec, **batch)
    left = y - getattr(stage3_torch, kernel.decode)(code, **kernel.decoding(spec))
    return count, left.flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1)
