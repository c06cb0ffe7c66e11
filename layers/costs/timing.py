"""Time functions side by side, so that ratios hold on a machine whose speed drifts, and notice one that is busy."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from checks import require

from ..network import evaluating, writes_input

SIZE = 128  # of the reference's matrices: a product takes far less than a scheduler's slice of time, some milliseconds
PRODUCTS = 24  # timed one by one in a round, about 2 ms in all
LONGEST = 0.05  # seconds of a round that the products may take where they are slowed down
REST = 0.01  # s before a round: threads of OpenMP spin on after a product, on processors that another runtime needs
SLOWED = 1 / 3  # of the rounds: with so many in which the reference was slowed down, the machine was busy


class Timing(NamedTuple):
    """Seconds of one call: median, lower and upper quartile over the rounds.

    Where a Timing is `busy`, the machine did other work, unevenly or all the time: show that beside the number, and no
    ratio to another one.

    Example:
        >>> Timing(median=0.5, low=0.4, high=0.6, rounds=15, disturbed=0).busy
        False
    """

    median: float
    low: float
    high: float
    rounds: int  # that these are taken over
    disturbed: int  # rounds that were measured as well
    busy: bool = False  # most rounds were disturbed, or the reference was slowed down in more than a third of them
    slowdown: float = 1.0  # of the reference product in the rounds, at the median: its time over its undisturbed time


class Products(NamedTuple):
    """The reference products of one round."""

    times: list[float]
    processor: float | None  # seconds for which their thread had a processor, where the clock is the real one


def event_seconds(function: Callable[[], object]) -> float:
    """Seconds between two CUDA events around one call: the device's own clock, without the wait for its answer."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    function()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def reference_product(device: str) -> Callable[[], object]:
    """A small product of matrices, always the same: other work slows it down, and nothing else does."""
    a = torch.ones(SIZE, SIZE, device=device)
    return lambda: a @ a


def interleaved(
    functions: Mapping[str, Callable[[], object]],
    rounds: int = 15,
    warmup: int = 3,
    seconds: float = 10.0,
    *,
    noise: float = 0.5,
    clock: Callable[[], float] | None = None,
    reference: Callable[[], object] | None = None,
    progress: Callable[[], object] = lambda: None,
) -> dict[str, Timing]:
    """Time every function in turn: a b c, b c a, c a b, ...

    Each round begins after a rest, and with a call of its first function that does not count.
    A round in which any function took more than 1 + `noise` of the lower quartile of its times was disturbed: it is
    left out for all of them and measured again, up to `rounds` times in all; where fewer than three rounds stay, none
    is left out.  Work that slows every round down alike shows in a reference product, timed several times in each
    round: it is so short that some of its runs are undisturbed even then, but all of a round's together are not; and
    where none is, as several threads wait for each other, it takes longer than its thread has the processor.

    Args:
        functions: name -> what is timed; called without arguments.
        rounds: how many count, at least 2.
        warmup: rounds that are run before and not counted.
        seconds: after which no round is begun; but three are always run.
        noise: the share by which a time may exceed the usual one.
        clock: in seconds (default: CUDA events where CUDA is in use, else time.perf_counter).
        progress: called after each round that is measured.
        reference: what is timed beside the functions (default: `reference_product`).

    Returns:
        Seconds per call of every function.

    Raises:
        ValueError: for fewer than 2 rounds.

    Example:
        >>> times = interleaved({"sum": lambda: sum(range(1000)), "len": lambda: len("abc")}, rounds=3)
        >>> sorted(times), times["sum"].median > 0
        (['len', 'sum'], True)
    """
    require(rounds >= 2, "rounds", rounds, "at least 2")
    by_events = clock is None and torch.cuda.is_initialized()
    own_clock = clock is None and not by_events  # which runs beside the processor's
    reference = reference or reference_product("cuda" if by_events else "cpu")
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
        if own_clock:
            time.sleep(REST)
            once(order[0][1])  # which would begin with empty caches
        return {name: once(function) for name, function in order}

    def probe() -> Products:
        once(reference)  # the first finds its matrices out of cache
        start, had, times = clock(), time.thread_time(), list[float]()
        while len(times) < PRODUCTS and clock() - start < LONGEST:
            times.append(once(reference))
        return Products(times, time.thread_time() - had if own_clock else None)

    began = clock()
    for number in range(warmup):
        measure(number)
    measured: list[dict[str, float]] = []
    products: list[Products] = []
    while len(_undisturbed(measured, noise)) < rounds and len(measured) < 2 * rounds:
        if len(measured) >= 3 and clock() - began > seconds:
            break
        measured.append(measure(warmup + len(measured)))
        products.append(probe())
        progress()
    clean = _undisturbed(measured, noise)
    disturbed = len(measured) - len(clean)
    kept, slowdowns = clean if len(clean) >= min(3, rounds) else measured, _slowdowns(products)
    slowed = sum(slowdown > 1 + noise for slowdown in slowdowns)
    busy, slowdown = disturbed > len(clean) or slowed > SLOWED * len(measured), statistics.median(slowdowns)
    quartiles = {name: _quartiles([times[name] for times in kept]) for name in functions}
    return {name: Timing(*three, len(kept), disturbed, busy, slowdown) for name, three in quartiles.items()}


def _undisturbed(measured: list[dict[str, float]], noise: float) -> list[dict[str, float]]:
    """Keep the rounds in which every function took at most 1 + noise of its lower quartile over all of them.

    Not of its median: other work can only slow a round down, and may well do so to more than half of them.
    """
    most = {name: (1 + noise) * _usual([r[name] for r in measured]) for name in (measured[0] if measured else ())}
    return [r for r in measured if all(r[name] <= most[name] for name in most)]


def _usual(times: Sequence[float]) -> float:
    """The lower quartile."""
    return sorted(times)[(len(times) - 1) // 4]


def _slowdowns(products: Sequence[Products]) -> list[float]:
    """How many times as long as undisturbed ones a round's products took together, for each round."""
    usual = _usual([seconds for times, _ in products for seconds in times])
    slowdowns = []
    for times, processor in products:
        expected = len(times) * usual if processor is None else min(len(times) * usual, processor)
        slowdowns.append(sum(times) / expected if expected > 0 else 1.0)
    return slowdowns


def _quartiles(times: list[float]) -> tuple[float, float, float]:
    low, median, high = statistics.quantiles(times, n=4, method="inclusive")
    return median, low, high


def latency(model: nn.Module, x: Tensor, rounds: int = 15) -> Timing:
    """Time one forward pass of x in eval mode without gradients; to compare two networks, interleave them.

    Args:
        model: any network, timed as it is, compiled or not.
        x: one input batch (n, ...); a network that works in place on it gets a copy every time.
        rounds: how many passes count, at least 2.

    Returns:
        Seconds of a pass, and whether the machine was busy.

    Raises:
        ValueError: for fewer than 2 rounds.

    Example:
        >>> latency(nn.Linear(4, 2), torch.zeros(1, 4), rounds=3).median > 0
        True
    """
    with evaluating(model):
        return interleaved({"model": forward(model, x)}, rounds)["model"]


def forward(model: nn.Module, x: Tensor) -> Callable[[], object]:
    """What runs the model on x, to be timed; on a copy of x only where the model works in place on it."""
    return (lambda: model(x.clone())) if writes_input(model, x) else (lambda: model(x))
