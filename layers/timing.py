"""Time functions side by side, so that their ratios hold on a machine whose speed drifts."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .cost import evaluating


class Timing(NamedTuple):
    """Seconds of one call: median, lower and upper quartile over the rounds."""

    median: float
    low: float
    high: float


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def interleaved(
    functions: Mapping[str, Callable[[], object]], rounds: int = 15, warmup: int = 3, seconds: float = 10.0
) -> dict[str, Timing]:
    """Seconds per call of every function, measured in turn: a b c, a b c, ...

    `warmup` rounds are not counted; no round is begun after `seconds`, but three are always run.
    """
    samples: dict[str, list[float]] = {name: [] for name in functions}
    began = time.perf_counter()
    for number in range(warmup + rounds):
        if number >= warmup + 3 and time.perf_counter() - began > seconds:
            break
        turn = number % len(functions)  # each goes first in turn: what runs after what must not favour one
        for name, function in [*functions.items()][turn:] + [*functions.items()][:turn]:
            _synchronize()
            start = time.perf_counter()
            function()
            _synchronize()
            if number >= warmup:
                samples[name].append(time.perf_counter() - start)
    return {name: Timing(*_quartiles(times)) for name, times in samples.items()}


def _quartiles(times: list[float]) -> tuple[float, float, float]:
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return median, low, high


def latency(model: nn.Module, x: Tensor, rounds: int = 15) -> Timing:
    """Seconds of one forward pass of x in eval mode without gradients; to compare two networks, interleave them."""
    with evaluating(model):
        return interleaved({"model": lambda: model(x)}, rounds)["model"]
