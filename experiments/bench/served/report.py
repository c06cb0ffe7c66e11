"""The page of what was measured: a table a network, a row a runtime and precision, a column a way to compress."""

import datetime
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from checks import require
from layers.network import write_text

from ...lab.reporting.provenance import provenance
from ...lab.reporting.tables import Table, markdown, print_table
from ...lab.reporting.units import digits
from ...lab.runs.record import environment
from .config import ServedBench
from .measure import Cell, conditions, measured

BOUNDS = 0.42, 0.53  # of the dense network's time, for a budget of half of it
TITLE = "# How fast, where networks are served"
EXPLAINED = (
    "Each cell: milliseconds of a forward pass, the dense network's time in the same cell over it, and the dense "
    "network's in its fastest cell over it. Weights are random, on which times do not depend; `svd`, `spatial`, "
    "`tucker`, `auto` and `channels` (fewer of them, in multiples of 16) keep half the multiply-accumulates of the "
    "network, at the cost of its convolutions alone; "
    "`latency=0.5` is a plan for half the time, made in that cell, of svd, spatial and tucker. `busy`: the machine had "
    "other work."
)


def report(bench: ServedBench, command: str) -> int:
    """Measure, writing the page after each cell; return 1 where a plan for half the time misses it."""
    notes = "" if bench.out is None else _notes(bench.out)
    known: Mapping[Cell, dict[str, Any]] = {}
    for known in measured(bench):
        if bench.out is not None and known:
            _write(bench, known, command, notes)
    tables, console = _tables(bench, known), Console()
    for name, table in tables.items():
        print_table(table, console, name)
    missed = _missed(known)
    console.print(*missed, EXPLAINED, sep="\n", markup=False, highlight=False)
    return 1 if missed else 0


def _notes(out: Path) -> str:
    """Return what stands below the last table of the page, if there is one; ValueError for a file of another kind."""
    if not out.exists():
        return ""
    try:
        page = out.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        page = ""
    require(
        page.startswith(TITLE), "out", str(out), f"a new file, or one that begins with {TITLE!r}, as this writes it"
    )
    notes = page.rpartition("|\n")[2]
    return notes if notes.strip() else ""


def _write(bench: ServedBench, known: Mapping[Cell, dict[str, Any]], command: str, notes: str) -> None:
    """Write the page; what stands below its last table stays."""
    assert bench.out is not None
    told = conditions(bench)
    sizes = f"{bench.batch} images of {bench.size} pixels at once, medians of dense and compressed in turn"
    machine = f"{told['cpu']}, {datetime.date.today().isoformat()}"
    made = provenance(command, environment() | {"threads": bench.threads}, f"{sizes}; {machine}")
    missed = [f"- {sentence}\n" for sentence in _missed(known)]
    parts = [f"## {name}\n\n{markdown(table)}" for name, table in _tables(bench, known).items()]
    misses = f"Outside {BOUNDS[0]} to {BOUNDS[1]} of the time:\n\n{''.join(missed)}\n" if missed else ""
    head = f"{TITLE}\n\n{made}\n\n{EXPLAINED}\n\n{misses}"
    bench.out.parent.mkdir(parents=True, exist_ok=True)
    write_text(bench.out, head + "\n".join(parts) + notes)


def _tables(bench: ServedBench, known: Mapping[Cell, dict[str, Any]]) -> dict[str, Table]:
    """Return a table for each network of which something is known."""
    tables: dict[str, Table] = {}
    for name in bench.networks:
        own = {cell: row for cell, row in known.items() if cell.network == name}
        pairs = list(dict.fromkeys((cell.runtime, cell.precision) for cell in own))
        dense = {pair: _dense(own, pair) for pair in pairs}
        times = [seconds for seconds in dense.values() if seconds]
        if not times:
            continue
        best, rows = min(times), []
        for pair in pairs:
            first = "" if not dense[pair] else f"{_ms(dense[pair])}, {best / dense[pair]:.2f}"
            cells = [_cell(own.get(Cell(name, way, *pair)), best) for way in bench.ways]
            rows.append([" ".join(pair), first, *cells])
        ways = ["latency=0.5" if way == "latency" else way for way in bench.ways]
        tables[name] = Table(["where", "dense", *ways], rows)
    return tables


def _dense(own: Mapping[Cell, dict[str, Any]], pair: tuple[str, str]) -> float:
    """Return the dense network's seconds, of all that it was measured beside; 0 where nothing was."""
    times = [row["dense"][0] for cell, row in own.items() if cell[2:] == pair and "dense" in row]
    return statistics.median(times) if times else 0.0


def _cell(row: Mapping[str, Any] | None, best: float) -> str:
    if row is None:
        return ""
    if "why" in row:
        return "no plan"
    own, dense = row["small"][0], row["dense"][0]
    busy = " busy" * (row["small"][3] or row["dense"][3])
    return f"{_ms(own)}, {dense / own:.2f}, {best / own:.2f}{busy}"


def _ms(seconds: float) -> str:
    return digits(1000 * seconds)


def _missed(known: Mapping[Cell, dict[str, Any]]) -> list[str]:
    """Return a sentence for each plan that there is not, and for each that misses half the time."""
    sentences = [f"{cell}: {row['why']}" for cell, row in known.items() if "why" in row]
    for cell, row in known.items():
        if cell.way == "latency" and "why" not in row:
            share = row["small"][0] / row["dense"][0]
            if not BOUNDS[0] <= share <= BOUNDS[1]:
                sentences.append(f"{cell}: {share:.2f} of the dense network's time, where half is asked")
    return sentences
