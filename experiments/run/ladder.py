"""The ladder of a row: what every step of a compression cost and gained, from the dense network down."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from ..lab.reporting.tables import Table, print_table
from ..lab.reporting.units import BYTES, COUNTS, SECONDS, Unit, digits, unit_of

COLUMNS: dict[str, tuple[str, tuple[Unit, ...] | None]] = {  # key of a rung -> heading, units or None: two decimals
    "val_top1": ("validation, %", None),
    "top1": ("test, %", None),
    "params": ("params", COUNTS),
    "nonzeros": ("non-zeros", COUNTS),
    "macs": ("MACs", COUNTS),
    "bits": ("bits", None),
    "file_bytes": ("stored", BYTES),
    "deflated": ("deflated", BYTES),
    "seconds": ("took", SECONDS),
}


def rungs(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row's ladder as plain values, the dense network first; none where none was measured."""
    return list(row.get("ladder", []))


def ladder_table(row: Mapping[str, Any], batches: Sequence[int]) -> Table:
    """Return a line for each step of a row: accuracies, costs, the latency at the first of these batch sizes."""
    columns = {**COLUMNS, **{f"latency_{n}": (f"batch {n}", SECONDS) for n in batches[:1]}}
    known = {key: [rung[key] for rung in rungs(row) if rung.get(key) is not None] for key in columns}
    units = {key: unit_of(known[key], scale) for key, (_, scale) in columns.items() if scale is not None}
    heads = [
        f"{title}, {units[key].sign}" if key in units and units[key].sign else title
        for key, (title, _) in columns.items()
    ]
    lines = [[rung["step"], *(_cell(rung.get(key), units.get(key)) for key in columns)] for rung in rungs(row)]
    return Table(["step", *heads], lines)


def _cell(value: float | None, unit: Unit | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if unit is None else digits(value / unit.size)


def ladder_text(row: Mapping[str, Any], batches: Sequence[int]) -> str:
    """Return the ladder in lines of even columns."""
    table = ladder_table(row, batches)
    columns = [[head, *cells] for head, *cells in zip(table.header, *table.rows)]
    widths = [max(map(len, column)) for column in columns]
    lines = zip(*columns)
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths)).rstrip() for line in lines)


def print_ladders(results: Mapping[str, Any], console: Console) -> None:
    """Print the ladder of each row of more than one step, or that `--compress` made."""
    named = bool(results["config"].get("compress"))
    for row in results["rows"]:
        if len(rungs(row)) > (1 if named else 2):
            console.print()
            table = ladder_table(row, results["latency_batches"])
            print_table(
                table._replace(header=[head.replace(" ", "\n") for head in table.header]), console, row["network"]
            )
