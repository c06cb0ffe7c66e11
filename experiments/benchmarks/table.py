"""A speed table on the terminal and as CSV."""

import platform
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from layers.plan import write_text

from .row import Measured


def show(rows: Sequence[Measured], threads: int, out: Path | None) -> bool:
    """Print the table, write the CSV if asked to, and say whether every ratio reaches what is asked."""
    table = Table(box=SIMPLE_HEAD)
    for name in ("work", "ours ms", "theirs ms", "ratio", "asked", "error", "theirs"):
        table.add_column(name, justify="left" if name == "work" else "right", no_wrap=name != "work")
    for row in rows:
        errors = ("" if error is None else f"{error:.5f}" for error in (row.our_error, row.their_error))
        style = None if row.ratio >= row.at_least else "bold red"
        times = (f"{1e3 * row.ours:.2f}", f"{1e3 * row.theirs:.2f}", f"{row.ratio:.2f}", f"{row.at_least:.2f}")
        table.add_row(f"{row.work}\n  against {row.against}", *times, *errors, style=style)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    table.caption = f"medians, ours and theirs in turn; torch {torch.__version__}, {threads} threads, {device}"
    Console().print(table)
    if out is not None:
        write_text(out, pd.DataFrame(rows).to_csv(index=False))
    return all(row.ratio >= row.at_least for row in rows)
