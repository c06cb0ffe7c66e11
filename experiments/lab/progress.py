"""Signs of life on stderr while a stage takes long: a bar on a terminal, elsewhere a line at least every 30 seconds.

Results go to stdout, so that they can be redirected without what is said on the way to them.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from contextlib import contextmanager
from threading import Event, Thread
from typing import TypeVar

from lightning_utilities.core.rank_zero import rank_zero_only  # where Lightning writes the rank, without all of it
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

T = TypeVar("T")
EVERY = 30.0  # seconds between two lines
REFRESH = 0.5  # seconds: seldom enough to disturb no timing


def log(words: str) -> None:
    """Write a line to stderr as it is: not wrapped, nothing in it taken for markup."""
    Console(stderr=True).print(words, soft_wrap=True, markup=False, highlight=False)


def left(done: int, total: int | None, seconds: float) -> str:
    """Return ", SO MUCH left", taking what is still to do for as long as what is done; nothing where that is unknown.

    >>> left(1, 4, 20.0), left(90, 100, 7200.0), left(0, 4, 20.0), left(4, 4, 20.0)
    (', 60 s left', ', 13 min left', '', '')
    """
    if not done or total is None or done >= total:
        return ""
    rest = seconds * (total - done) / done
    units = ((7200, 3600, "h"), (120, 60, "min"), (0, 1, "s"))
    return next(f", {rest / size:.0f} {unit} left" for least, size, unit in units if rest >= least)


class Pace:
    """How far a row of long things has come, each a line of a log: "3 of 12, 5 min left"."""

    def __init__(self, total: int, done: int = 0) -> None:
        self.total, self.before, self.began = total, done, time.monotonic()

    def __call__(self, done: int) -> str:
        """Return the words; what was done when this began tells nothing of the time."""
        seconds = time.monotonic() - self.began
        return f"{done} of {self.total}{left(done - self.before, self.total - self.before, seconds)}"


class Sign:
    """What a stage is doing and how far it has come; the stage changes it, the bar or the line shows it."""

    def __init__(self, words: str, total: int | None) -> None:
        self.words, self.total, self.done, self.last = words, total, 0, ""

    def advance(self) -> None:
        """Count one more as done."""
        self.done += 1

    def finish(self, name: str) -> None:
        """Count one more as done, the one of this name."""
        self.last = name
        self.advance()

    def line(self, seconds: float) -> str:
        """Return it as a line for a log."""
        of = "" if self.total is None else f" {self.done} of {self.total},"
        last = f" {self.last} done," if self.last else ""
        return f"{self.words}:{of}{last} {seconds:.0f} s{left(self.done, self.total, seconds)}\n"


@contextmanager
def stage(words: str, total: int | None = None) -> Iterator[Sign]:
    """Show inside the block that it goes on, and how far it has come where `total` says of how much.

    Args:
        words: what is being done.
        total: of how many things; None where they cannot be counted.

    Yields:
        The sign, whose `advance` counts one thing.
    """
    sign = Sign(words, total)
    if getattr(rank_zero_only, "rank", 0) > 0:  # of several processes the first one speaks
        yield sign
        return
    show = _bar(sign) if sys.stderr.isatty() else _lines(sign)
    with show:
        yield sign


def tracked(batches: Iterable[T], words: str) -> Iterator[T]:
    """Yield the batches, and show how many have been."""
    with stage(words, len(batches) if isinstance(batches, Sized) else None) as sign:
        for batch in batches:
            yield batch
            sign.advance()


@contextmanager
def _lines(sign: Sign) -> Iterator[None]:
    over, began = Event(), time.monotonic()

    def write() -> None:
        while not over.wait(EVERY):
            sys.stderr.write(sign.line(time.monotonic() - began))
            sys.stderr.flush()

    writer = Thread(target=write, daemon=True)  # a stage is one long call that has no room for a look at the clock
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


@contextmanager
def _bar(sign: Sign) -> Iterator[None]:
    words, times = TextColumn("{task.description}", markup=False), (TimeElapsedColumn(), TimeRemainingColumn())
    columns = (words, BarColumn(), MofNCompleteColumn(), *times)
    with Progress(*columns, console=Console(stderr=True), transient=True, auto_refresh=False) as shown:
        task, over = shown.add_task(sign.words, total=sign.total), Event()

        def refresh() -> None:
            while not over.wait(REFRESH):
                shown.update(task, description=sign.words, total=sign.total, completed=sign.done, refresh=True)

        refresher = Thread(target=refresh, daemon=True)
        refresher.start()
        try:
            yield
        finally:
            over.set()
            refresher.join()
