"""The plan as a picture: a bar per layer and cost, before and after, coloured by kernel; the foreseen loss beside."""

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from layers import Plan
from layers.planning import LayerPlan

from ..style import look
from ..tables import Table
from ..units import BYTES, COUNTS, SECONDS, Unit, digits, unit_of
from .blocks import Block, Columns, Grid, Legend, Plot

THOUSANDS = {"": "number", "k": "thousands", "M": "millions", "G": "billions"}
LONGEST = 24  # letters of a layer's name on an axis
COSTS = {"macs": ("Multiply-accumulates", COUNTS), "params": ("Parameters", COUNTS), "bytes": ("Bytes", BYTES)}


def short(name: str) -> str:
    """Return a layer's name at most LONGEST letters long, cut in the middle.

    >>> short("features.3.conv"), short("backbone.stages.0.blocks.11.conv2")
    ('features.3.conv', 'backbone.sta…cks.11.conv2')
    """
    return name if len(name) <= LONGEST else f"{name[: LONGEST // 2]}…{name[-(LONGEST // 2 - 1) :]}"


def layer_blocks(plan: Plan, measured: Mapping[str, float] | None = None, of: str = "") -> list[Block]:
    """Return the pictures of a plan and its table.

    measured: layer -> rise of the loss where it alone is so.  of: whose plan it is, where a page has several.
    """
    if not plan.layers:
        return []
    kernels = list(dict.fromkeys(row.kernel or "dense" for row in plan.layers))
    pictures = [_bars(plan, metric) for metric in ("macs", "params")]
    if plan.selector == "loss" or measured:
        pictures.append(sensitivity(plan, measured or {}))
    return [Legend(kernels), Columns(pictures), table(plan, of)]


def words(row: LayerPlan) -> str:
    """Say what becomes of a layer: its ranks, or why it stays dense."""
    spec = ", ".join(f"{key} {value}" for key, value in row.spec.items() if key != "tree")
    return spec if row.kernel else row.reason


def _height(rows: int) -> int:
    return 26 * rows + 90


def _bars(plan: Plan, metric: str) -> Plot:
    title, units = COSTS[metric]
    before = [getattr(row.before, metric) for row in plan.layers]
    unit = unit_of(before, units)
    names = [short(row.name) for row in plan.layers]
    figure = go.Figure()
    grey = {"color": "rgba(128,134,148,.22)"}
    figure.add_bar(
        x=[n / unit.size for n in before], y=names, orientation="h", marker=grey, hoverinfo="skip", width=0.8
    )
    for kernel in dict.fromkeys(row.kernel for row in plan.layers):
        rows = [row for row in plan.layers if row.kernel == kernel]
        figure.add_bar(
            x=[getattr(row.after, metric) / unit.size for row in rows],
            y=[short(row.name) for row in rows],
            orientation="h",
            width=0.5,
            marker={"color": look(kernel or "dense").colour},
            customdata=[[row.name, kernel or "dense", _hover(row, metric, unit)] for row in rows],
            hovertemplate="<b>%{customdata[0]}</b>, %{customdata[1]}<br>%{customdata[2]}<extra></extra>",
        )
    figure.update_layout(barmode="overlay", showlegend=False, height=_height(len(names)), bargap=0)
    figure.update_yaxes(autorange="reversed", categoryorder="array", categoryarray=names, showgrid=False)
    figure.update_xaxes(title_text=THOUSANDS.get(unit.sign, unit.sign), rangemode="tozero")
    alt = "; ".join(f"{row.name} {row.kernel or 'dense'} {_share(row, metric)}" for row in plan.layers)
    return Plot(figure, f"{title} of each layer before and after: {alt}.", title)


def _share(row: LayerPlan, metric: str) -> str:
    before, after = getattr(row.before, metric), getattr(row.after, metric)
    return f"{after / before:.0%}" if before else ""


def _hover(row: LayerPlan, metric: str, unit: Unit) -> str:
    before, after = (getattr(cost, metric) / unit.size for cost in (row.before, row.after))
    lines = [f"{digits(after)} of {digits(before)} {unit.sign}, {_share(row, metric)}", words(row)]
    return "<br>".join(filter(None, lines))


def sensitivity(plan: Plan, measured: Mapping[str, float]) -> Plot:
    """Draw the rise of the loss by layer: as the plan foresees it, and as measured with this layer alone compressed."""
    foreseen = {row.name: row.error for row in plan.layers if row.kernel} if plan.selector == "loss" else {}
    names = [row.name for row in plan.layers if row.kernel]
    kernels = {row.name: row.kernel or "dense" for row in plan.layers}
    figure = go.Figure()
    for title, rises, filled in (("foreseen", foreseen, True), ("measured", dict(measured), False)):
        shown = [name for name in names if name in rises]
        if not shown:
            continue
        figure.add_scatter(
            x=[rises[name] for name in shown],
            y=[short(name) for name in shown],
            mode="markers",
            name=title,
            marker={
                "size": 12,
                "color": [look(kernels[name]).colour for name in shown],
                "symbol": [look(kernels[name]).symbol + "-open" * (not filled) for name in shown],
                "line": {"width": 2},
            },
            hovertemplate=f"<b>%{{y}}</b><br>%{{x:.3g}} {title}<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed", categoryorder="array", categoryarray=[short(name) for name in names])
    figure.update_xaxes(title_text="rise of the cross-entropy", rangemode="tozero", exponentformat="power", nticks=5)
    figure.update_layout(height=_height(len(names)), showlegend=bool(measured), margin={"t": 40 if measured else 16})
    kinds = {"foreseen": foreseen, "measured": measured}
    said = "; ".join(
        f"{name} {' and '.join(f'{rises[name]:.2g} {kind}' for kind, rises in kinds.items() if name in rises)}"
        for name in names
    )
    what = "foreseen (filled) and measured alone (open)" if measured else "as the plan foresees it"
    return Plot(figure, f"Rise of the loss by layer, {what}: {said}.", f"Rise of the loss, {what}")


def table(plan: Plan, of: str = "") -> Grid:
    """Return the plan as a table: what becomes of each layer, its costs before and after, its error."""
    caption = f"What becomes of each layer{' of' * bool(of)} {of}".rstrip()
    costs: dict[str, tuple[str, tuple[Unit, ...]]] = {"params": ("parameters", COUNTS), "macs": ("MACs", COUNTS)}
    units = {
        key: unit_of([getattr(row.before, key) for row in plan.layers], scale) for key, (_, scale) in costs.items()
    }
    seconds = [row.seconds.before for row in plan.layers if row.seconds]
    clock = unit_of(seconds, SECONDS)
    rows: list[list[str]] = []
    order: list[Sequence[float | str | None]] = []
    for row in plan.layers:
        cells, keys = [row.name, row.kernel or "dense", words(row)], [row.name, row.kernel or "dense", words(row)]
        values: list[float | str | None] = [*keys]
        for key, unit in units.items():
            before, after = getattr(row.before, key) / unit.size, getattr(row.after, key) / unit.size
            cells.append(f"{digits(after)}\nof {digits(before)}")
            values.append(after)
        if seconds:
            cells.append(
                f"{digits(row.seconds.after / clock.size)}\nof {digits(row.seconds.before / clock.size)}"
                if row.seconds
                else ""
            )
            values.append(row.seconds.after if row.seconds else None)
        cells.append(f"{row.error:.3g}" if row.kernel else "")
        rows.append(cells)
        order.append([*values, row.error if row.kernel else None])
    heads = [f"{title}, {units[key].sign}" if units[key].sign else title for key, (title, _) in costs.items()]
    measure = "rise of the loss" if plan.selector == "loss" else "error"
    header = ["layer", "kernel", "ranks, or why dense", *heads, *([f"time, {clock.sign}"] if seconds else []), measure]
    return Grid(Table(header, rows, 3), caption, order, names=1)
