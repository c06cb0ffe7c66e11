"""`python -m experiments.sweep`: accuracy against cost for each kernel and selector, without a gradient step."""

import sys

from ..lab.command import door
from .config import Sweep


def act(sweep: Sweep) -> None:
    """Measure what is not measured yet, and draw."""
    from rich.console import Console

    from ..lab.progress import log
    from .points import execute

    folder = execute(sweep, log)
    console = Console()
    console.print(f"sweep.csv, sweep.png, sweep.pdf: {folder}", soft_wrap=True, highlight=False)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True, markup=False, highlight=False)


main = door("sweep", Sweep, act, resumes=True)

if __name__ == "__main__":
    sys.exit(main())
