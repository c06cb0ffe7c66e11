"""The page of a search: what it gained, the loss from trial to trial, the Pareto front, the best plans."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from layers import Plan

from ..lab.reporting.formats import copies
from ..lab.reporting.page import Block, Code, Columns, Fold, Grid, Page, Plot, Section
from ..lab.reporting.page.layers import layer_blocks
from ..lab.reporting.style import COLOURS, GREY
from ..lab.reporting.tables import Table
from ..lab.reporting.units import percent
from .gain import Compared

HEADS = {
    "comparison": "Search against selector loss, at the same budget",
    "best": "The best configurations, by validation images",
    "front": "The Pareto front: what no trial beats in MACs, parameters and validation accuracy at once",
}
COSTS = {"macs_kept": "Multiply-accumulates", "params_kept": "Parameters"}


def page(
    title: str,
    settings: Mapping[str, Any],
    said: Sequence[str],
    rows: Sequence[Compared],
    trials: pd.DataFrame,
    found: Mapping[str, pd.DataFrame],
    plans: Mapping[str, Plan],
) -> Page:
    """Return the page; `found`: the tables of HEADS with words in their cells; rows: the dense network first."""
    dense, pairs = rows[0], list(zip(rows[1::2], rows[2::2]))
    best = max((search for _, search in pairs), key=lambda row: row.val_top1)
    headline = (
        f"Ship the searched plan at {best.budget}: {best.test_top1 - dense.test_top1:+.2f} points against dense, "
        f"{percent(1 - best.macs / dense.macs)} fewer multiply-accumulates."
    )
    sections = [
        Section("Trials", [Columns([_progress(trials), *(_front(trials, key, dense) for key in COSTS)])], TRIALS),
        *(Section(head, [_grid(found[name], head)]) for name, head in HEADS.items()),
    ]
    for budget, plan in plans.items():
        sections.append(Section(f"The best plan, {budget}", layer_blocks(plan)))
    folded: list[Block] = [Fold("Every setting", [Code(json.dumps(dict(settings), indent=1), "all settings")])]
    return Page(title, headline, [f"{sentence}." for sentence in said], [*sections, Section("Settings", folded)])


TRIALS = "Each point is a trial; the first of a budget, the diamond, is the plan of selector loss."


def _grid(frame: pd.DataFrame, caption: str) -> Grid:
    table = Table([str(name) for name in frame.columns], [[str(cell) for cell in row] for row in frame.to_numpy()], 2)
    return Grid(table, caption, copies=copies(table))


def _progress(trials: pd.DataFrame) -> Plot:
    figure, said = go.Figure(), []
    complete = trials[trials.state == "complete"]
    for number, (budget, group) in enumerate(complete.groupby("budget", sort=False)):
        colour = COLOURS[1 + number % (len(COLOURS) - 1)]
        figure.add_scatter(
            x=group.trial, y=group.val_loss, mode="markers", opacity=0.45, showlegend=False, marker={"color": colour}
        )
        figure.add_scatter(
            x=group.trial, y=group.val_loss.cummin(), mode="lines", name=str(budget), line={"color": colour, "width": 2}
        )
        said.append(f"{budget} from {group.val_loss.iloc[0]:.4g} to {group.val_loss.min():.4g}")
    figure.update_layout(height=340, margin={"t": 40})
    figure.update_xaxes(title_text="trial")
    figure.update_yaxes(title_text="cross-entropy on validation images")
    return Plot(figure, f"Validation loss by trial, least so far: {'; '.join(said)}.", "Loss, least so far")


def _front(trials: pd.DataFrame, key: str, dense: Compared) -> Plot:
    figure, complete = go.Figure(), trials[trials.state == "complete"]
    for number, (_, group) in enumerate(complete.groupby("budget", sort=False)):
        colour = COLOURS[1 + number % (len(COLOURS) - 1)]
        symbols = ["diamond" if trial == 0 else "circle" for trial in group.trial]
        sizes = [12 if trial == 0 else 7 for trial in group.trial]
        marker = {"color": colour, "symbol": symbols, "size": sizes}
        texts = [f"trial {trial}" for trial in group.trial]
        hover = "%{text}<br>%{y:.2f} % at %{x:.1%}<extra></extra>"
        figure.add_scatter(
            x=group[key], y=group.val_top1, mode="markers", text=texts, marker=marker, hovertemplate=hover
        )
    shown = complete[complete.front]
    ring = {"size": 15, "symbol": "circle-open", "color": GREY, "line": {"width": 1.5}}
    figure.add_scatter(x=shown[key], y=shown.val_top1, mode="markers", marker=ring, hoverinfo="skip")
    figure.add_hline(dense.val_top1, line={"color": GREY, "dash": "dot", "width": 1.5})
    figure.update_layout(height=340, showlegend=False)
    figure.update_xaxes(title_text="of the dense network's", tickformat=".0%")
    figure.update_yaxes(title_text="top-1 on validation images, %")
    said = "; ".join(f"{row.val_top1:.2f} % at {row[key]:.1%}" for _, row in shown.iterrows())
    title = COSTS[key]
    return Plot(
        figure, f"Accuracy against {title.lower()}; on the front: {said}. Dotted: dense.", f"{title}; rings: front"
    )
