"""The way from the dense network to the one that is shipped: what each step costs and gives, in points and in time."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import plotly.graph_objects as go

from ..comparison import Comparison, busy
from ..formats import copies
from ..style import GREY, look
from ..tables import Table
from ..units import BYTES, COUNTS, SECONDS, Unit, digits, unit_of
from .blocks import Block, Columns, Fold, Grid, Plot
from .layers import short

REFIT = "refit"
BUSY = "The machine had other work while it was timed: such times are left out."
COLUMNS: dict[str, tuple[str, tuple[Unit, ...] | None]] = {  # key of a rung -> heading, units or None: two decimals
    "val_top1": ("validation, %", None),
    "top1": ("test, %", None),
    "params": ("params", COUNTS),
    "nonzeros": ("non-zeros", COUNTS),
    "macs": ("MACs", COUNTS),
    "bits": ("bits", None),
    "bytes": ("stored", BYTES),
    "compressed": ("compressed", BYTES),
    "seconds": ("took", SECONDS),
}


def steps(row: Mapping[str, Any], dense: Mapping[str, Any], batch: int) -> list[dict[str, Any]]:
    """Return the steps of a network, dense first; of a row without a ladder before and after fine-tuning.

    A kernel whose factors were refitted is two steps where it is known what the plan alone would have left.
    """
    key = f"latency_{batch}"
    ours, whole = (None if busy(one, key) else one.get(key) for one in (row, dense))
    begin = {"step": "dense", "top1": dense["top1"], "latency": whole}
    if row.get("ladder"):
        rungs = [{**step, "latency": None if busy(step, key) else step.get(key)} for step in _apart(row["ladder"])]
        return rungs if rungs[0]["step"] == "dense" else [begin, *rungs]
    if row.get("top1_before") is None:
        return [begin, {"step": "compressed", "top1": row["top1"], "latency": ours}]
    planned = {"step": "compressed", "top1": row["top1_before"], "latency": None}
    return [begin, planned, {"step": "fine-tuned", "top1": row["top1"], "latency": ours}]


def _apart(rungs: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    for rung in rungs:
        if rung.get("unfitted_top1") is not None:
            yield {**rung, "top1": rung["unfitted_top1"]}
        yield {**rung, "step": REFIT} if rung.get("unfitted_top1") is not None else rung


def ladders(comparison: Comparison, first: tuple[str, str] | None = None) -> list[Block]:
    """Return a fold for each network: a waterfall of points of top-1, and times where they are known.

    first: run and network of the fold that is open; else the first one is.
    """
    folds: list[Fold] = []
    chosen = 0
    batch = comparison.batches[-1] if comparison.batches else 1
    for label, row, dense in comparison.rows:
        if row["network"] == "dense":
            continue
        way = steps(row, dense, batch)
        name = comparison.called(label, row["network"])
        total = f"{row['top1'] - dense['top1']:+.2f} points in {len(way) - 1} step{'s' * (len(way) > 2)}"
        noisy = any(busy(one, f"latency_{batch}") for one in (row, dense))
        blocks: list[Block] = [Columns(_pictures(name, way, batch, BUSY * noisy))]
        if row.get("ladder"):
            table = ladder_table(row, comparison.batches)
            blocks.append(Grid(table, f"Steps of {name}", copies=copies(table), controls=False))
        chosen = len(folds) if (label, row["network"]) == first else chosen
        folds.append(Fold(f"{name}: {total}", blocks, name=row["network"]))
    return [fold._replace(open=number == chosen) for number, fold in enumerate(folds)]


def _pictures(name: str, way: Sequence[Mapping[str, Any]], batch: int, note: str) -> list[Plot]:
    words, tops = [str(step["step"]) for step in way], [step["top1"] for step in way]
    changes = [after - before for before, after in pairwise(tops) if before is not None and after is not None]
    colour = look(name).colour
    figure = go.Figure(
        go.Waterfall(
            x=list(range(len(words))),  # two steps may have one name
            y=[*changes, 0],
            measure=[*["relative"] * len(changes), "total"],
            text=[f"{change:+.2f}" for change in (*changes, tops[-1] - tops[0])],
            textposition="outside",
            cliponaxis=False,
            increasing={"marker": {"color": colour}},
            decreasing={"marker": {"color": colour}},
            totals={"marker": {"color": GREY}},
            connector={"line": {"color": GREY, "width": 1}},
            customdata=[*words[1:], "in all"],
            hovertemplate="%{customdata}: %{text} points<extra></extra>",
        )
    )
    figure.update_xaxes(tickvals=list(range(len(words))), ticktext=[*map(short, words[1:]), "in all"], showgrid=False)
    sums = [sum(changes[:n]) for n in range(len(changes) + 1)]
    low, high = min(sums), max(sums)
    room = max(0.25 * (high - low), 0.15)
    figure.update_yaxes(title_text="points of top-1 against dense", range=[low - room, high + room], zeroline=True)
    figure.update_layout(height=320, showlegend=False)
    said = "; ".join(f"{step} {change:+.2f}" for step, change in zip(words[1:], changes))
    pictures = [Plot(figure, f"Points of top-1 by step of {name}: {said}.", "Points of top-1", note)]
    timed = [(step["step"], step["latency"]) for step in way if isinstance(step.get("latency"), int | float)]
    if len(timed) > 1:
        unit = unit_of([seconds for _, seconds in timed], SECONDS)
        bars = go.Figure(
            go.Bar(
                x=list(range(len(timed))),
                customdata=[step for step, _ in timed],
                y=[seconds / unit.size for _, seconds in timed],
                text=[f"{seconds / unit.size:.3g}" for _, seconds in timed],
                textposition="outside",
                cliponaxis=False,
                marker={"color": [GREY, *[colour] * (len(timed) - 1)]},
                hovertemplate=f"%{{customdata}}: %{{y:.4g}} {unit.sign}<extra></extra>",
            )
        )
        bars.update_xaxes(tickvals=list(range(len(timed))), ticktext=[short(step) for step, _ in timed], showgrid=False)
        bars.update_yaxes(title_text=unit.sign, rangemode="tozero")
        bars.update_layout(height=320, showlegend=False)
        said = "; ".join(f"{step} {seconds / unit.size:.3g} {unit.sign}" for step, seconds in timed)
        pictures.append(Plot(bars, f"Time of {batch} images by step of {name}: {said}.", f"Time of {batch} images"))
    return pictures


def ladder_table(row: Mapping[str, Any], batches: Sequence[int]) -> Table:
    """Return a line for each step of a row: accuracies, costs, the latency at the first of these batch sizes."""
    columns = {**COLUMNS, **{f"latency_{n}": (f"batch {n}", SECONDS) for n in batches[:1]}}
    known = {key: [rung[key] for rung in row["ladder"] if rung.get(key) is not None] for key in columns}
    units = {key: unit_of(known[key], scale) for key, (_, scale) in columns.items() if scale is not None}
    heads = [
        f"{title}, {units[key].sign}" if key in units and units[key].sign else title
        for key, (title, _) in columns.items()
    ]
    lines = [[rung["step"], *(_cell(rung.get(key), units.get(key)) for key in columns)] for rung in row["ladder"]]
    return Table(["step", *heads], lines)


def _cell(value: float | None, unit: Unit | None) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if unit is None else digits(value / unit.size)
