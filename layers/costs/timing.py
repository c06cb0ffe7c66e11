"""Time functions side by side, so that their ratios hold on a machine whose speed drifts."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from checks import require

from ..network import evaluating


class Timing(NamedTuple):
    """Seconds of one call: median, lower and upper quartile over the rounds."""

    median: float
    low: float
    high: float
    rounds: int  # that these are taken over
    disturbed: int  # rounds that were measured as well
    noisy: bool = False  # most rounds were disturbed: the machine was busy, and the numbers are to be taken with care


def event_seconds(function: Callable[[], object]) -> float:
    """Seconds between two CUDA events around one call: the device's own clock, without the wait for its answer."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    function()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def interleaved(
    functions: Mapping[str, Callable[[], object]],
    rounds: int = 15,
    warmup: int = 3,
    seconds: float = 10.0,
    *,
    noise: float = 0.5,
    clock: Callable[[], float] | None = None,
) -> dict[str, Timing]:
    """Seconds per call of every function, measured in turn: a b c, a b c, ...

    `warmup` rounds are not counted.  A round in which any function took more than 1 + `noise` of the lower quartile of
    its times was disturbed: it is left out for all of them and measured again, up to `rounds` times in all; where
    fewer than three rounds stay, none is left out.  No round is begun after `seconds`, but three are always run.
    By CUDA events where CUDA is in use, else by `clock`, time.perf_counter.
    """
    require(rounds >= 2, "rounds", rounds, "at least 2")
    by_events = clock is None and torch.cuda.is_initialized()
    clock = clock or time.perf_counter

    def once(function: Callable[[], object]) -> float:
        if by_events:
            return event_seconds(function)
        start = clock()
        function()
        return clock() - start

    def measure(number: int) -> dict[str, float]:
        turn = number % len(functions)  # each goes first in turn: what runs after what must not favour one
        order = [*functions.items()][turn:] + [*functions.items()][:turn]
        return {name: once(function) for name, function in order}

    began = clock()
    for number in range(warmup):
        measure(number)
    measured: list[dict[str, float]] = []
    while len(_undisturbed(measured, noise)) < rounds and len(measured) < 2 * rounds:
        if len(measured) >= 3 and clock() - began > seconds:
            break
        measured.append(measure(warmup + len(measured)))
    clean = _undisturbed(measured, noise)
    disturbed = len(measured) - len(clean)
    kept, noisy = clean if len(clean) >= min(3, rounds) else measured, disturbed > len(clean)
    return {name: Timing(*_quartiles([r[name] for r in kept]), len(kept), disturbed, noisy) for name in functions}


def _undisturbed(measured: list[dict[str, float]], noise: float) -> list[dict[str, float]]:
    """The rounds in which every function took at most 1 + noise of its lower quartile over all of them.

    Not of its median: other work can only slow a round down, and may well do so to more than half of them.
    """
    most = {}
    for name in measured[0] if measured else ():
        times = sorted(r[name] for r in measured)
        most[name] = (1 + noise) * times[(len(times) - 1) // 4]
    return [r for r in measured if all(r[name] <= most[name] for name in most)]


def _quartiles(times: list[float]) -> tuple[float, float, float]:
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return median, low, high


def latency(model: nn.Module, x: Tensor, rounds: int = 15) -> Timing:
    """Seconds of one forward pass of x in eval mode without gradients; to compare two networks, interleave them."""
    with evaluating(model):
        return interleaved({"model": lambda: model(x)}, rounds)["model"]
