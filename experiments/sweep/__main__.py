"""`python -m experiments.sweep`: accuracy against cost for each kernel and selector, without a gradient step."""

import sys

from ..lab.command import door
from .config import Sweep, check_options


def act(sweep: Sweep) -> None:
    """Measure what is not measured yet, and draw."""
    import pandas as pd
    from rich.console import Console

    from ..lab.progress import log
    from ..lab.reporting.tables import print_table
    from . import orders, points
    from .page import NAMES
    from .table import table

    check_options(sweep)
    console = Console()
    if sweep.curves.compress:
        folder = orders.execute(sweep, log)
        console.print((folder / "orders.md").read_text(encoding="utf-8"), soft_wrap=True, markup=False, highlight=False)
        console.print(f"orders.csv, orders.png, orders.pdf: {folder}", soft_wrap=True, highlight=False)
        return
    folder = points.execute(sweep, log)
    measured = pd.read_csv(folder / "sweep.csv")
    title = f"top-1 in % at {NAMES[sweep.curves.metric]}; dense {measured.top1[0]:.2f}"
    print_table(table(measured), console, title)
    console.print(f"sweep.csv, sweep.png, sweep.pdf: {folder}", soft_wrap=True, highlight=False)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True, markup=False, highlight=False)


main = door("sweep", Sweep, act, resumes=True)

if __name__ == "__main__":
    sys.exit(main())
