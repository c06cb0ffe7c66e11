"""`python -m experiments.bench`: our kernels, layers, training and planner against their peers and what is asked."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from checks import require

from ..lab.command import check_file, door
from ..lab.reporting.provenance import command_of, words
from .gpu.config import GpuBench
from .int8.config import Int8Bench
from .planner.config import PlannerBench
from .served.config import ServedBench


@dataclass(frozen=True)
class Bench:
    """Time ours and theirs in turn and print theirs / ours; the peers come with `pip install -e '.[bench]'`.

    `bench planner --help`: what the planner keeps of a network's accuracy;  `bench int8 --help`: what 8 bits keep;
    `bench served --help`: how fast compressed networks are in every runtime and precision;  `bench gpu-all --help`: all
    that a GPU shows, in minutes.
    """

    table: Annotated[Literal["kernels", "layers", "networks", "gpu", "train"], tyro.conf.Positional]
    """what to measure"""
    only: str = ""
    """rows whose work contains this text"""
    threads: int = 2
    """of torch"""
    seconds: float = 20.0
    """per row, at most; three rounds are always run"""
    out: Path | None = None
    """a file for the table: Markdown if it ends in .md, else CSV"""


def command(bench: Bench) -> str:
    """Return the command line that gives these options."""
    usual, given = asdict(Bench(bench.table)), asdict(bench)
    typed = words({name: value for name, value in given.items() if value != usual[name]})
    return f"python -m experiments.bench {bench.table} {typed}".rstrip()


def act(bench: Bench) -> int:
    """Measure and print; 1 if a ratio is below what is asked."""
    if bench.out is not None:
        check_file(bench.out)
    from .report import show
    from .row import measure
    from .tables import TABLES

    try:
        rows = [row for cases in TABLES[bench.table] for row in cases() if bench.only in row.work]
        require(bool(rows), "only", bench.only, "part of a row's name")
        measured = measure(rows, bench.threads, bench.seconds)
    except ImportError as error:
        raise ValueError(f"peers must be installed with pip install -e '.[bench]', got: {error}") from error
    return 0 if show(measured, bench.threads, bench.out, command(bench)) else 1


def act_planner(bench: PlannerBench) -> int:
    """Measure and print; 1 if something falls short of what is asked."""
    if bench.measurement.out is not None:
        check_file(bench.measurement.out)
    from .planner.report import report

    return 0 if report(bench) else 1


def act_int8(bench: Int8Bench) -> int:
    """Measure and print."""
    if bench.measurement.out is not None:
        check_file(bench.measurement.out)
    from .int8.report import report

    report(bench)
    return 0


def act_served(bench: ServedBench) -> int:
    """Measure, print and write; 1 if a plan for half the time misses it."""
    for name in ("batch", "size", "threads"):
        require(getattr(bench, name) >= 1, name, getattr(bench, name), "at least 1")
    require(bool(bench.networks and bench.ways), "networks and ways", "none", "one of each at least")
    if bench.out is not None:
        check_file(bench.out)
    from .served.report import report

    return report(bench, command_of("bench served", bench))


def act_gpu(bench: GpuBench) -> int:
    """Measure, print and write."""
    for name in ("batch", "size", "calibration_images", "steps"):
        require(getattr(bench, name) >= 1, name.replace("_", " "), getattr(bench, name), "at least 1")
    if bench.out is not None:
        check_file(bench.out)
    from .gpu.report import report

    report(bench, command_of("bench gpu-all", bench))
    return 0


tables = door("bench", Bench, act)
DOORS = {
    "planner": door("bench planner", PlannerBench, act_planner),
    "int8": door("bench int8", Int8Bench, act_int8),
    "gpu-all": door("bench gpu-all", GpuBench, act_gpu),
    "served": door("bench served", ServedBench, act_served, resumes=True),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line: that of `bench planner` and others of their own options, or of the other tables."""
    given = sys.argv[1:] if arguments is None else arguments
    return DOORS[given[0]](given[1:]) if given and given[0] in DOORS else tables(given)


if __name__ == "__main__":
    sys.exit(main())
