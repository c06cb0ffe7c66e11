"""`python -m experiments.bench`: our kernels, layers, training and planner against their peers and what is asked."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from .planner.config import PlannerBench


@dataclass(frozen=True)
class Bench:
    """Time ours and theirs in turn and print theirs / ours; the peers come with `pip install -e '.[bench]'`.

    `bench planner --help`: what the planner keeps of a network's accuracy.
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


def planner(arguments: list[str]) -> int:
    """`bench planner`: 1 if something falls short of what is asked, 2 when the input is refused."""
    options = (tyro.conf.OmitArgPrefixes,)
    bench = tyro.cli(PlannerBench, prog="python -m experiments.bench planner", args=arguments, config=options)
    from .planner.report import report  # late: torch is not needed to answer --help

    try:
        return 0 if report(bench.run(), bench.measurement) else 1
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 1 if a ratio is below what is asked, 2 when the input is refused."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["planner"]:
        return planner(given[1:])
    bench = tyro.cli(Bench, prog="python -m experiments.bench", args=given)
    from .tables import TABLES, measure, show  # late: torch is not needed to answer --help

    try:
        rows = [row for cases in TABLES[bench.table] for row in cases() if bench.only in row.work]
        if not rows:
            sys.stderr.write(f"error: only must be part of a row's name, got {bench.only!r}\n")
            return 2
        measured = measure(rows, bench.threads, bench.seconds)
    except ImportError as error:
        sys.stderr.write(f"error: peers must be installed with pip install -e '.[bench]', got: {error}\n")
        return 2
    except ValueError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0 if show(measured, bench.threads, bench.out, f"python -m experiments.bench {shlex.join(given)}") else 1


if __name__ == "__main__":
    sys.exit(main())
