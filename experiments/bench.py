"""`python -m experiments.bench`: our kernels, layers and training against their peers, side by side in one run."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True)
class Bench:
    """Time ours and theirs in turn and print theirs / ours; the peers come with `pip install -e '.[bench]'`."""

    table: Annotated[Literal["kernels", "layers", "networks", "train"], tyro.conf.Positional]
    """what to measure"""
    only: str = ""
    """rows whose work contains this text"""
    threads: int = 2
    """of torch"""
    seconds: float = 20.0
    """per row, at most; three rounds are always run"""
    out: Path | None = None
    """a file for the table: Markdown if it ends in .md, else CSV"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 1 if a ratio is below what is asked, 2 when the input is refused."""
    bench = tyro.cli(Bench, prog="python -m experiments.bench", args=arguments)
    from .benchmarks import TABLES, measure, show  # late: torch is not needed to answer --help

    try:
        rows = [row for cases in TABLES[bench.table] for row in cases() if bench.only in row.work]
    except ImportError as error:
        sys.stderr.write(f"error: peers must be installed with pip install -e '.[bench]', got: {error}\n")
        return 2
    if not rows:
        sys.stderr.write(f"error: only must be part of a row's name, got {bench.only!r}\n")
        return 2
    return 0 if show(measure(rows, bench.threads, bench.seconds), bench.threads, bench.out) else 1


if __name__ == "__main__":
    sys.exit(main())
