"""A speed table on the terminal, as CSV and as Markdown."""

import datetime
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.text import Text

from layers.network import write_text

from ..lab.reporting.provenance import provenance
from ..lab.reporting.tables import Table, markdown, print_table
from ..lab.reporting.units import digits
from ..lab.runs.record import environment
from .row import Measured

EXPLAINED = (
    "Ratio: their time over ours, bold where less was measured than is asked. Spread: half of what lies between the "
    "quartiles, of ours or theirs, whichever is more."
)


def show(rows: Sequence[Measured], threads: int, out: Path | None, command: str) -> bool:
    """Print the table, write it if asked to (*.md as Markdown, else as CSV); whether all that is asked is reached.

    command: what measured it, for the page in Markdown, of which all that is written below the table stays.
    """
    header = ["work", "ours,\nms", "theirs,\nms", "ratio", "asked", "spread,\n%", "error"]
    lines = [[f"{row.work}\nagainst {row.against}", *_numbers(row), _errors(row)] for row in rows]
    short = frozenset(number for number, row in enumerate(rows) if not row.reached)
    known = len(header) if any(row.our_error is not None for row in rows) else -1
    print_table(Table(header[:known], [line[:known] for line in lines], short=short), Console())
    conditions = _conditions(rows, threads, command)
    Console().print(Text(conditions, style="italic"))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".md":
            notes = out.read_text(encoding="utf-8").rpartition("|\n")[2] if out.exists() else ""
            write_text(out, _page(rows, conditions) + notes)
        else:
            write_text(out, pd.DataFrame(rows).to_csv(index=False))
    return all(row.reached for row in rows)


def _numbers(row: Measured, bold: str = "") -> list[str]:
    """Return times, ratio, what is asked and spread; a row measured on a busy machine says so."""
    mark = "" if row.reached else bold
    ratio = f"{mark}{row.ratio:.2f}{mark}{' busy' if row.busy else ''}"
    return [digits(1e3 * row.ours), digits(1e3 * row.theirs), ratio, row.asked, digits(100 * row.spread, 2)]


def _errors(row: Measured) -> str:
    """Return our error, and below it theirs."""
    return "\n".join("" if error is None else f"{error:.5f}" for error in (row.our_error, row.their_error))


def _conditions(rows: Sequence[Measured], threads: int, command: str) -> str:
    """Say what measured the table, how, where and when."""
    rounds = f"{min((row.rounds for row in rows), default=0)} or more rounds"
    machine = f"{platform.machine()} with {os.cpu_count()} cores, {datetime.date.today().isoformat()}"
    measured = f"medians of {rounds}, ours and theirs in turn; {machine}"
    return provenance(command, environment() | {"threads": threads}, measured)


def _page(rows: Sequence[Measured], conditions: str) -> str:
    """Return the page for the docs."""
    header = ["work", "against", "ours, ms", "theirs, ms", "ratio", "asked", "spread, %"]
    table = Table(header, [[row.work, row.against, *_numbers(row, "**")] for row in rows], 2)
    return f"# How fast, side by side\n\n{conditions} {EXPLAINED}\n\n{markdown(table)}"
