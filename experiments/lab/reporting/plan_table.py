"""A plan on a terminal, a row per layer, whatever the terminal's width."""

import pandas as pd
from rich.console import Console

from layers import Plan

from .tables import Table, print_table
from .units import COUNTS, SECONDS, Unit, digits, unit_of

COSTS: dict[str, tuple[str, tuple[Unit, ...]]] = {
    "params": ("params", COUNTS),
    "macs": ("MACs", COUNTS),
    "seconds": ("time", SECONDS),
}


def print_plan(plan: Plan, console: Console) -> None:
    """Print the plan's own text where it fits, else the same as a table that does."""
    text = str(plan)
    if max(map(len, text.splitlines())) <= console.width:
        console.print(text, soft_wrap=True, markup=False, highlight=False)
    else:
        print_table(plan_table(plan), console)


def plan_table(plan: Plan) -> Table:
    """The table: layer and kernel, spec or why the layer stays dense, costs and what is kept of each, error."""
    frame = plan.to_frame()
    costs = [key for key in COSTS if f"{key}_after" in frame]
    # of the layers: the total, in the last row, would make them fractions of a thousand
    units = {key: unit_of(frame[f"{key}_before"].iloc[:-1], COSTS[key][1]) for key in costs}
    heads = [f"{COSTS[key][0]}\n{units[key].sign}".rstrip() for key in costs]
    rows = []
    for name, row in frame.iterrows():
        numbers = [_cost(row[f"{key}_before"], row[f"{key}_after"], units[key]) for key in costs]
        error = "" if pd.isna(row["error"]) or not row["error"] else f"{row['error']:.3g}"
        rows.append([f"{name}\n{row['kernel']}", row["spec"] or row["reason"], *numbers, error])
    return Table(["layer", "spec", *heads, "error"], rows, 2)


def _cost(before: float, after: float, unit: Unit) -> str:
    return f"{digits(after / unit.size)}\n{after / before:.0%}" if before else digits(after / unit.size)
