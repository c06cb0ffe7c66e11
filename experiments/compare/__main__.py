"""`python -m experiments.compare RUN...`: the networks of several runs side by side."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from checks import require

from ..lab.command import check_file, door

Names = Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN [RUN ...]")]
Files = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE [FILE ...]")]


@dataclass(frozen=True)
class Compare:
    """Show accuracy, loss, costs, latency, memory and training time of every network of the runs, against dense."""

    run: Names
    """run folders, or names in the folder of --runs, as `python -m experiments.list` shows them"""
    runs: Path = Path("runs")
    """folder of the run folders"""
    dense: str | None = None
    """the run whose dense network all are held against (unset: each run's own)"""
    frequency: bool = False
    """of runs with --frequency: the page of docs/results/frequency.md, printed or written to a file .md"""
    out: Files = ()
    """files to write as well: .csv (plain numbers), .md, .tex (booktabs) or .html (with a figure)"""


def act(options: Compare) -> None:
    """Print a table of each run, and write the files."""
    from rich.console import Console

    from ..lab.reporting import comparison, run_report
    from ..lab.runs import record
    from . import formats

    if options.frequency:
        frequency_page(options)
        return
    require(len(options.run) > 0, "run", options.run, "one or more run folders")
    for path in options.out:
        require(path.suffix in formats.FORMATS, "out", str(path), f"a file that ends in {', '.join(formats.FORMATS)}")
        require(path.parent.is_dir(), "out", str(path), "in a folder that exists")
        check_file(path)
    folders = [run_folder(name, options.runs) for name in (*options.run, *((options.dense,) if options.dense else ()))]
    results = {path.resolve().name: record.read_results(path) for path in folders}
    shown = comparison.Comparison(results, folders[-1].resolve().name if options.dense else None)
    for path in options.out:
        formats.write(shown, path)
    run_report.print_comparison(shown, Console())


def frequency_page(options: Compare) -> None:
    """Print or write the page of runs with --frequency."""
    from layers.network import write_text

    from ..lab.runs import record
    from . import frequency

    require(len(options.run) > 0, "run", options.run, "one or more folders of complete runs with --frequency")
    require(options.dense is None, "dense", options.dense, "left out with --frequency")
    for path in options.out:
        require(path.suffix == ".md", "out", str(path), "a file that ends in .md")
        check_file(path)
    results = []
    for name in options.run:
        folder = run_folder(name, options.runs)
        complete = (folder / record.COMPLETE).is_file()
        result = record.read_results(folder) if complete else {"config": {}}
        ours = bool(result["config"].get("frequency"))
        require(ours, "run", str(folder), "the folder of a complete run with --frequency")
        results.append(result)
    text = frequency.page(results)
    for path in options.out:
        write_text(path, text)
    if not options.out:
        sys.stdout.write(text)


def run_folder(name: str, runs: Path) -> Path:
    """Return the folder that a RUN names: a path, or the name of a folder in `runs`; ValueError for neither."""
    folder = Path(name) if Path(name).is_dir() else runs / name
    choices = f"a run folder, or a name that python -m experiments.list --runs {runs} shows"
    require(folder.is_dir(), "run", name, choices)
    return folder


main = door("compare", Compare, act)

if __name__ == "__main__":
    sys.exit(main())
