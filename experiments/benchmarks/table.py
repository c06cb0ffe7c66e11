"""A speed table on the terminal, as CSV and as Markdown."""

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
    """Print the table, write it if asked to (*.md as Markdown, else as CSV); whether all that is asked is reached."""
    table = Table(box=SIMPLE_HEAD)
    for name in ("work", "ours ms", "theirs ms", "ratio", "asked", "error", "theirs"):
        table.add_column(name, justify="left" if name == "work" else "right", no_wrap=name != "work")
    for row in rows:
        errors = ("" if error is None else f"{error:.5f}" for error in (row.our_error, row.their_error))
        style = None if row.reached else "bold red"
        times = (f"{1e3 * row.ours:.2f}", f"{1e3 * row.theirs:.2f}", f"{row.ratio:.2f}", row.asked)
        table.add_row(f"{row.work}\n  against {row.against}", *times, *errors, style=style)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or platform.machine()
    table.caption = f"medians, ours and theirs in turn; torch {torch.__version__}, {threads} threads, {device}"
    Console().print(table)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        markdown = out.suffix == ".md"
        write_text(out, _markdown(rows, table.caption) if markdown else pd.DataFrame(rows).to_csv(index=False))
    return all(row.reached for row in rows)


def _markdown(rows: Sequence[Measured], caption: str) -> str:
    """The table for the docs; a ratio below what is asked is bold."""
    lines = [
        ("work", "against", "ours ms", "theirs ms", "ratio", "asked"),
        ("---", "---", "---:", "---:", "---:", "---:"),
    ]
    for row in rows:
        ratio = f"{row.ratio:.2f}" if row.reached else f"**{row.ratio:.2f}**"
        times = (f"{1e3 * row.ours:.4g}", f"{1e3 * row.theirs:.4g}", ratio, row.asked)
        lines.append((row.work, row.against, *times))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines) + f"\n{caption[0].upper()}{caption[1:]}.\n"
