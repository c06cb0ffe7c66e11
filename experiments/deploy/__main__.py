"""`python -m experiments.deploy RUN`: the networks of a run as files, measured in every runtime that is installed."""

import sys
from pathlib import Path

from checks import require

from ..lab.command import door
from .config import Deploy


def act(options: Deploy) -> int:
    """Write and measure the files; return 1 where a promise is broken."""
    require(options.threads >= 1, "threads", options.threads, "at least 1")
    require(options.tolerance >= 0, "tolerance", options.tolerance, "at least 0")
    allowed = "numbers of images, at least 1, each given once"
    distinct = len(set(options.batches)) == len(options.batches)
    require(bool(options.batches) and min(options.batches) >= 1 and distinct, "batches", options.batches, allowed)
    folder = Path(options.run) if Path(options.run).is_dir() else options.runs / options.run
    choices = f"a run folder, or a name that python -m experiments.list --runs {options.runs} shows"
    require(folder.is_dir(), "run", options.run, choices)
    from . import execute

    return execute.execute(options, folder)


main = door("deploy", Deploy, act)

if __name__ == "__main__":
    sys.exit(main())
