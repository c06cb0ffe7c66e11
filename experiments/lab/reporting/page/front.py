"""Accuracy against each cost: a point per network with its interval, the Pareto front, peers where there are some."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from ..comparison import Column, Comparison, busy, ratio
from ..peers import Peer, peers
from ..style import GREY, look, wilson
from ..units import Unit, digits
from .blocks import Block, Columns, Legend, Plot
from .layers import short

COSTS = ("macs", "params", "bytes", "compressed")
VARIANTS = ("", "-open", "-dot", "-open-dot")  # of a marker, one a run


class _Point(NamedTuple):
    x: float
    y: float
    run: int
    name: str  # of the network
    label: str
    words: str
    low: float | None  # of x
    high: float | None
    images: int


def fronts(comparison: Comparison) -> list[Block]:
    """Return the legend and a figure for each cost; shares of dense, or numbers where each run has its own dense."""
    keys = [key for key in COSTS if key in comparison.columns]
    keys += [f"latency_{n}" for n in comparison.batches[-1:]]
    names = list(dict.fromkeys(row["network"] for _, row, _ in comparison.rows))
    plots = [plot for key in keys if (plot := _front(comparison, key)) is not None]
    return [Legend(names), Columns(plots)]


def _front(comparison: Comparison, key: str) -> Plot | None:
    shares = len(comparison.runs) == 1 or comparison.dense is not None
    column, unit = comparison.columns[key], comparison.units[key]
    points = list(_points(comparison, key, column, unit, shares))
    if len(points) < 2:
        return None
    figure = go.Figure()
    best = pareto([(point.x, point.y) for point in points])
    figure.add_scatter(
        x=[x for x, _ in best],
        y=[y for _, y in best],
        mode="lines",
        line={"color": GREY, "width": 1.5, "dash": "dot", "shape": "hv"},
        hoverinfo="skip",
        showlegend=False,
    )
    beside = _peers(comparison, key) if shares else []
    dense = next(row for _, row, _ in comparison.rows)
    for number, peer in enumerate(beside):
        _add_peer(figure, peer, dense["top1"], number)
    span = _range(points, [y for peer in beside for y in _shifted(peer, dense["top1"]).values()])
    for point, place in zip(points, places(points, span)):
        _add(figure, point, place)
    if shares:
        figure.update_xaxes(title_text="of the dense network's", tickformat=".0%", rangemode="tozero")
    else:
        figure.update_xaxes(title_text=unit.sign or "number", rangemode="tozero")
    figure.update_yaxes(title_text="top-1, %", range=span)
    figure.update_layout(height=340, showlegend=bool(beside), margin={"t": 28})
    said = "; ".join(f"{point.label} {point.y:.2f} % at {point.words}" for point in points)
    title = {"macs": "Multiply-accumulates", "params": "Parameters"}.get(key, column.title.capitalize())
    front = ", ".join(dict.fromkeys(point.label for point in points if (point.x, point.y) in best))
    return Plot(figure, f"Top-1 against {title.lower()}: {said}. On the Pareto front: {front}.", title)


def _points(comparison: Comparison, key: str, column: Column, unit: Unit, shares: bool) -> Sequence[_Point]:
    runs, found = list(comparison.runs), []
    for label, row, dense in comparison.rows:
        if row.get(key) is None or busy(row, key):
            continue
        x = ratio(row, dense, key) if shares else row[key] / unit.size
        if x is None:
            continue
        scale = x / row[key]
        low, high = (
            None if row.get(f"{key}_{end}") is None else scale * row[f"{key}_{end}"] for end in ("low", "high")
        )
        name = comparison.called(label, row["network"])
        words = f"{digits(row[key] / unit.size)} {unit.sign}".rstrip() + f", {column.title}"
        images = comparison.runs[label]["test_images"]
        found.append(_Point(x, row["top1"], runs.index(label), row["network"], name, words, low, high, images))
    return found


def places(points: Sequence[_Point], span: Sequence[float]) -> list[str | None]:
    """Return where each point's name stands: where it hides the fewest markers and names, on a panel of usual size.

    None where a fifth of it would lie under others; colour and marker say whose point it is.
    """
    width, height, most = 330, 250, max(point.x for point in points) or 1
    spots = [(width * point.x / most, height * (point.y - span[0]) / (span[1] - span[0])) for point in points]
    taken = [(x - 8, y - 8, x + 8, y + 8) for x, y in spots]
    chosen: list[str | None] = []
    for point, (x, y) in zip(points, spots):
        wide = 7.5 * len(short(point.label))
        boxes = {
            "top center": (x - wide / 2, y + 8, x + wide / 2, y + 24),
            "bottom center": (x - wide / 2, y - 24, x + wide / 2, y - 8),
            "middle left": (x - 12 - wide, y - 8, x - 10, y + 8),
            "middle right": (x + 10, y - 8, x + 12 + wide, y + 8),
            "top left": (x - 8 - wide, y + 6, x - 4, y + 22),
            "bottom left": (x - 8 - wide, y - 22, x - 4, y - 6),
        }
        cost = {place: sum(_overlap(box, other) for other in taken) for place, box in boxes.items()}
        outside = {place: 100 * (max(0, box[2] - width - 12) + max(0, -box[0])) for place, box in boxes.items()}
        place = min(boxes, key=lambda name: cost[name] + outside[name])
        left, bottom, right, top = boxes[place]
        readable = cost[place] <= (right - left) * (top - bottom) / 5
        taken += [boxes[place]] * readable
        chosen.append(place if readable else None)
    return chosen


def _overlap(one: Sequence[float], other: Sequence[float]) -> float:
    """Return the area that two boxes (left, bottom, right, top) share."""
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, wide) * max(0.0, high)


def _add(figure: go.Figure, point: _Point, place: str | None) -> None:
    style = look(point.name)
    low, high = wilson(point.y, point.images)
    bars, across = {"color": style.colour, "thickness": 1, "width": 0}, None
    if point.low is not None and point.high is not None:
        across = {"array": [point.high - point.x], "arrayminus": [point.x - point.low], **bars}
    figure.add_scatter(
        x=[point.x],
        y=[point.y],
        mode="markers" if place is None else "markers+text",
        text=[short(point.label)],
        textposition=place,
        cliponaxis=False,
        error_x=across,
        error_y={"array": [high - point.y], "arrayminus": [point.y - low], **bars},
        marker={
            "size": 13,
            "color": style.colour,
            "symbol": style.symbol + VARIANTS[point.run % 4],
            "line": {"width": 1},
        },
        name=point.label,
        showlegend=False,
        hovertemplate=f"<b>%{{fullData.name}}</b><br>{point.y:.2f} % top-1, {low:.2f} to {high:.2f}<br>"
        f"{point.words}<extra></extra>",
    )


def _range(points: Sequence[_Point], others: Sequence[float]) -> list[float]:
    """Return the accuracies to show: of all networks with their intervals, never narrower than two points."""
    ends = [end for point in points for end in wilson(point.y, point.images)] + [*others]
    low, high = min(ends), max(ends)
    room = max(0.08 * (high - low), (2 - (high - low)) / 2, 0.1)
    return [max(0, low - room), min(high + 1.6 * room, 100 + 1.6 * room)]


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return those (cost, accuracy) that no other beats in both, from the cheapest.

    >>> pareto([(1.0, 90.0), (0.5, 89.0), (0.6, 88.0)])
    [(0.5, 89.0), (1.0, 90.0)]
    """
    front: list[tuple[float, float]] = []
    for x, y in sorted(set(points), key=lambda point: (point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def _peers(comparison: Comparison, key: str) -> list[Peer]:
    """Return peers of the same network and images; none where the runs differ in these or do not name their classes."""
    made = {(r["config"]["model"], tuple(r.get("class_names", ()))) for r in comparison.runs.values()}
    if len(made) != 1:
        return []
    ((model, classes),) = made
    return peers(model, list(classes), key)


def _shifted(peer: Peer, dense: float) -> Mapping[float, float]:
    """Return the peer's points as far below our dense network as it reports below its own."""
    return {fraction: top1 - peer.dense + dense for fraction, top1 in sorted(peer.top1.items())}


def _add_peer(figure: go.Figure, peer: Peer, dense: float, number: int) -> None:
    points, hover = _shifted(peer, dense), "%{fullData.name}<br>%{y:.2f} % top-1 at %{x:.0%}<extra></extra>"
    marker: dict[str, Any] = {"size": 8, "symbol": ("x-thin", "cross-thin", "asterisk", "hash")[number % 4]}
    figure.add_scatter(
        x=list(points),
        y=list(points.values()),
        mode="lines+markers",
        name=peer.label,
        line={"color": GREY, "width": 1},
        marker=marker | {"color": GREY, "line": {"width": 1.5, "color": GREY}},
        hovertemplate=hover,
    )
