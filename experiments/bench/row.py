"""One comparison of the speed tables, and how it is measured."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch

from layers import interleaved

from ..lab.progress import Pace, log


class Row(NamedTuple):
    """A row compares `work` done by `ours` and by a peer, each called without arguments."""

    work: str
    against: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    at_least: float  # seconds of theirs over seconds of ours; 0.5 where ours may take twice their time
    error: Callable[[Any], float] | None = None  # of a result of either, where the two may differ
    at_most: float | None = None  # seconds of ours, where something is asked of them alone


class LazyRow(NamedTuple):
    """A row that takes time or memory to prepare: `make` is called when its turn comes; its `work` begins with this."""

    work: str
    make: Callable[[], Row]


class Measured(NamedTuple):
    """Medians over the rounds, in seconds; errors are None where there is nothing to compare."""

    work: str
    against: str
    ours: float
    theirs: float
    ratio: float
    at_least: float
    our_error: float | None
    their_error: float | None
    at_most: float | None = None
    spread: float = 0.0  # half of what lies between the quartiles over the median, the larger of the two sides
    rounds: int = 0
    busy: bool = False  # the machine had other work: the ratio is to be taken with care

    @property
    def asked(self) -> str:
        """Return the least ratio, and the most seconds of ours where those are asked too, as the table shows them."""
        return f"{self.at_least:.2f}" + ("" if self.at_most is None else f", {self.at_most:g} s")

    @property
    def reached(self) -> bool:
        """Whether the ratio and the seconds of ours are as asked."""
        return self.ratio >= self.at_least and (self.at_most is None or self.ours <= self.at_most)


def measure(rows: Sequence[Row | LazyRow], threads: int, seconds: float) -> list[Measured]:
    """Measure every row in turn: ours, theirs, ours, theirs, ... with this number of threads."""
    before, pace, measured = torch.get_num_threads(), Pace(len(rows)), list[Measured]()
    torch.set_num_threads(threads)
    try:
        for row in rows:
            log(f"{row.work}: {pace(len(measured))}")
            measured.append(_measure(row.make() if isinstance(row, LazyRow) else row, seconds))
        return measured
    finally:
        torch.set_num_threads(before)


def _measure(row: Row, seconds: float) -> Measured:
    times = interleaved({"ours": row.ours, "theirs": row.theirs}, rounds=50, warmup=1, seconds=seconds)
    ours, theirs = times["ours"], times["theirs"]
    return Measured(
        row.work,
        row.against,
        ours.median,
        theirs.median,
        theirs.median / ours.median,
        row.at_least,
        our_error=None if row.error is None else row.error(row.ours()),
        their_error=None if row.error is None else row.error(row.theirs()),
        at_most=row.at_most,
        spread=max((side.high - side.low) / 2 / side.median for side in (ours, theirs)),
        rounds=ours.rounds,
        busy=ours.busy or theirs.busy,
    )
