"""The page of a sweep: which kernel to ship at which budget, the curves, and every point."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from ..lab.reporting.comparison import Comparison
from ..lab.reporting.formats import copies
from ..lab.reporting.page import Block, Code, Columns, Page, Plot, Section
from ..lab.reporting.page.curves import Line, lines
from ..lab.reporting.page.verdict import verdict
from ..lab.reporting.peers import Peer
from ..lab.reporting.provenance import command_of, machine
from ..lab.reporting.run_report import networks_grid
from ..lab.reporting.style import COLOURS, GREY
from ..lab.reporting.units import percent
from .config import Sweep

NAMES = {"macs": "multiply-accumulates kept", "params": "parameters kept", "bytes": "bytes kept"}
NOTE = "Up and to the left is better. Dotted: the dense network. Grey: peers, as far below dense as they report."


def comparison(table: pd.DataFrame, sweep: Sweep, facts: Mapping[str, Any], tested: int) -> Comparison:
    """Return the points as the networks of one run, so that they are judged as a run's are."""
    rows = []
    for point in table.to_dict("records"):
        kernel, selector = point["kernel"], point["selector"]
        other = f" ({selector})" if selector and selector != sweep.curves.selector[0] else ""
        at = f" at {percent(point['kept'])}" if selector else ""
        costs = {key: point[key] for key in ("top1", "top5", "loss", "params", "macs", "bytes", "refit", "budget")}
        rows.append({"network": f"{kernel}{other}{at}", "selector": selector, **costs})
    config = {**sweep.flat(), "max_epochs": 0}
    made = {"config": config, "test_images": tested, "latency_batches": [], "rows": rows}
    return Comparison({sweep.name: {**made, "environment": facts.get("environment", {})}})


def page(table: pd.DataFrame, beside: Sequence[Peer], sweep: Sweep, facts: Mapping[str, Any], tested: int) -> Page:
    """Return the page; facts: environment and inputs, as the sweep's config.json has them."""
    curves, dense = sweep.curves, float(table.top1[table.kernel == "dense"].iloc[0])
    shown = comparison(table, sweep, facts, tested)
    judged, common = verdict(shown), (curves.kernel[0], curves.selector[0])
    kernels = _curves(table, {(kernel, common[1]): kernel for kernel in curves.kernel})
    selectors = [
        line._replace(colour=COLOURS[1 + number % 6])
        for number, line in enumerate(_curves(table, {(common[0], name): name for name in curves.selector}))
    ]
    plots = [_plot(kernels, beside, dense, sweep, f"Kernels, ranks by selector {common[1]}")]
    if len(selectors) > 1:
        plots.append(_plot(selectors, [], dense, sweep, f"Selectors, kernel {common[0]}"))
    grid = networks_grid(shown, judged)
    again: list[Block] = [Code(command_of("sweep", sweep), "the command")]
    sections = [
        Section("Accuracy against cost", [Columns(plots)], NOTE),
        Section("All points", [grid._replace(copies=copies(grid.table))]),
        Section("Do it again", again, f"{machine(facts.get('environment', {}))}."),
    ]
    title = f"{sweep.network.model} on {sweep.data.dataset}, {tested:,} test images, no gradient step"
    name = "" if judged.choice is None else judged.choice[1]["network"]
    return Page(title, judged.headline, judged.sentences, sections, judged.facts, name)


def _curves(table: pd.DataFrame, wanted: Mapping[tuple[str, str], str]) -> list[Line]:
    found = []
    for (kernel, selector), name in wanted.items():
        line = table[(table.kernel == kernel) & (table.selector == selector)].sort_values("kept")
        if len(line):
            found.append(Line(name, line.kept.tolist(), line.top1.tolist()))
    return found


def _plot(curves: Sequence[Line], beside: Sequence[Peer], dense: float, sweep: Sweep, title: str) -> Plot:
    others = [
        Line(
            peer.label,
            sorted(peer.top1),
            [peer.top1[f] - peer.dense + dense for f in sorted(peer.top1)],
            dash,
            colour=GREY,
        )
        for peer, dash in zip(beside, ("dash", "dot", "dashdot", "longdash"))
    ]
    figure: go.Figure = lines([*curves, *others], NAMES[sweep.curves.metric], "top-1, %", 420, legend=True)
    figure.add_hline(dense, line={"color": GREY, "width": 1.5, "dash": "dot"})
    figure.update_xaxes(tickformat=".0%")
    figure.update_layout(margin={"t": 70})
    said = "; ".join(
        f"{line.name} {', '.join(f'{y:.1f} % at {x:.0%}' for x, y in zip(line.x, line.y))}"
        for line in (*curves, *others)
    )
    return Plot(figure, f"{title}: {said}. Dense: {dense:.2f} %.", title)
