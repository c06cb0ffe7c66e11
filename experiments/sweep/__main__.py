"""`python -m experiments.sweep`: accuracy against cost for each kernel and selector, without a gradient step."""

import sys

from ..lab.command import door
from .config import Sweep


def act(sweep: Sweep) -> None:
    """Measure what is not measured yet, and draw."""
    from rich.console import Console

    from .points import execute

    console = Console(stderr=True)
    folder = execute(sweep, lambda words: console.print(words, soft_wrap=True, markup=False, highlight=False))
    Console().print(f"sweep.csv, sweep.png, sweep.pdf: {folder}", soft_wrap=True, highlight=False)


main = door("sweep", Sweep, act, resumes=True)

if __name__ == "__main__":
    sys.exit(main())
