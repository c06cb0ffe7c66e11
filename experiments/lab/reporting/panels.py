"""Accuracy against each cost as one interactive figure of plotly."""

from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from .comparison import Comparison, busy, ratio
from .style import COLOURS, wilson
from .units import digits

SYMBOLS = ("circle", "square", "triangle-up", "cross", "x", "star", "hexagon", "pentagon")
COSTS = ("params", "macs", "bytes", "file_bytes")


def figure(comparison: Comparison) -> go.Figure:
    """Draw top-1 with its 95 % interval against each cost, and against the latency of the largest batch.

    Costs are shares of the dense network that all are held against, or numbers where each run has its own.  Of one run
    every network has its colour; of several every run has, and every network its symbol.
    """
    shares = len(comparison.runs) == 1 or comparison.dense is not None
    keys = [key for key in (*COSTS, f"latency_{comparison.batches[-1]}") if key in comparison.columns]
    if "file_bytes" in keys:
        keys.remove("bytes")  # the file is what a user gets of networks that are pruned or quantised
    drawn = make_subplots(1, len(keys), shared_yaxes=True, horizontal_spacing=0.03)
    runs, networks = list(comparison.runs), list(dict.fromkeys(row["network"] for _, row, _ in comparison.rows))
    for label, row, dense in comparison.rows:
        number = networks.index(row["network"])
        name, colour = row["network"], COLOURS[number % len(COLOURS)]
        if len(runs) > 1:
            name, colour = f"{label} {row['network']}", COLOURS[1 + runs.index(label) % (len(COLOURS) - 1)]
        symbol = "diamond" if number == 0 else SYMBOLS[(number - 1) % len(SYMBOLS)]
        marker = {"size": 13, "color": colour, "symbol": symbol}
        for panel, key in enumerate(keys, 1):
            point = _point(comparison, row, dense, key, shares)
            if point is not None:
                interval = _interval(row["top1"], comparison.runs[label]["test_images"])
                style = {"name": name, "legendgroup": name, "showlegend": panel == 1, "marker": marker}
                drawn.add_trace(go.Scatter(mode="markers", error_y=interval, **point, **style), 1, panel)
    for panel, key in enumerate(keys, 1):
        title = comparison.columns[key].title
        unit = comparison.units[key].sign
        axis = {"title_text": f"{title} / dense", "tickformat": ".0%"} if shares else {"title_text": f"{title}, {unit}"}
        drawn.update_xaxes(**axis, rangemode="tozero", row=1, col=panel)
    drawn.update_yaxes(title_text="top-1 accuracy on the test images, %", row=1, col=1)
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    drawn.update_layout(
        template="simple_white", height=460, margin={"r": 30, "t": 60}, font={"size": 13}, legend=legend
    )
    return drawn


def _interval(top1: float, images: int) -> dict[str, Any]:
    low, high = wilson(top1, images)
    return {"array": [high - top1], "arrayminus": [top1 - low], "width": 4, "thickness": 1}


def _point(
    comparison: Comparison, row: dict[str, Any], dense: dict[str, Any], key: str, shares: bool
) -> dict[str, Any] | None:
    """Return where the point lies and what it says; None where nothing that can be relied on was measured."""
    if row.get(key) is None or busy(row, key):
        return None
    column, unit = comparison.columns[key], comparison.units[key]
    x = ratio(row, dense, key) if shares else row[key] / unit.size
    words = f"{digits(row[key] / unit.size)} {unit.sign}, {column.title}"
    return (
        None
        if x is None
        else {
            "x": [x],
            "y": [row["top1"]],
            "hovertemplate": f"%{{fullData.name}}<br>%{{y:.2f}} % top-1<br>{words}<extra></extra>",
        }
    )
