"""Collect an experiment's numbers from the folders of its runs, sweeps, searches and studies."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from checks import require

from ..lab.results.metrics import metrics
from ..lab.results.result import Number, Numbers
from ..lab.runs import record
from .measured import Key, Measured, Source
from .read_others import BEST, ERRORS, FOUND, ORDERS, POINTS, of_orders, of_search, of_study, of_sweep, of_tune
from .read_run import of_run
from .read_served import CELLS, of_served

READERS: dict[str, Callable[[Path], Source]]  # file of a complete folder -> what reads the folder; the last one counts
READERS = {
    record.COMPLETE: of_run,
    POINTS: of_sweep,
    ORDERS: of_orders,
    FOUND: of_search,
    ERRORS: of_study,
    BEST: of_tune,
    CELLS: of_served,
}


def of_folder(folder: Path) -> list[Source]:
    """Return what every finished run and sweep below a folder measured; ValueError with file and field otherwise."""
    found = []
    for path in sorted(folder.iterdir()):
        there = [name for name in READERS if (path / name).is_file()]
        found += [READERS[there[-1]](path)] if there else []  # of a study the errors, beside its results
    return found


def gathered(sources: Sequence[Source], seeds: Sequence[int], where: str) -> tuple[Numbers, dict[str, Any]]:
    """Return numbers and series by row and level, a value for each seed; ValueError where a seed lacks a network.

    A network that several lists pass through is the same in all; two that only look alike by their row are refused.
    """
    known: dict[Key, dict[int, Measured]] = {}
    for source in sources:
        for found in source.measured:
            of_seeds = known.setdefault(found.key, {})
            same = next(iter(of_seeds.values()), found)
            apart = "lists of one entry that differ in more than epochs"
            require(same.words == found.words, f"{where}: {found.key[0]}", f"{same.words!r} and {found.words!r}", apart)
            before = of_seeds.get(source.seed, found)
            of_seeds[source.seed] = found._replace(
                numbers={**found.numbers, **before.numbers}, series={**found.series, **before.series}
            )
    numbers: Numbers = {}
    series: dict[str, Any] = {}
    for (row, level), of_seeds in known.items():
        short = [seed for seed in seeds if seed not in of_seeds]
        require(not short, f"{where}: {row} {level}", f"none of seed {short[:1]}", "measured with every seed")
        ordered = [of_seeds[seed] for seed in seeds]
        shared = [name for name in metrics() if all(name in found.numbers for found in ordered)]
        numbers.setdefault(row, {})[level] = {m: Number.of([found.numbers[m] for found in ordered]) for m in shared}
        if lists := {name: [found.series[name] for found in ordered] for name in ordered[0].series}:
            series.setdefault(row, {})[level] = lists
    return numbers, series
