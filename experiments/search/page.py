"""The page of a search: which network to ship, what the search added, the trials, and the best plans layer by layer."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
import plotly.graph_objects as go

from layers import Plan

from ..lab.reporting.comparison import Comparison
from ..lab.reporting.formats import copies
from ..lab.reporting.page import Block, Code, Columns, Fold, Grid, Page, Plot, Prose, Section
from ..lab.reporting.page.front import fronts
from ..lab.reporting.page.layers import layer_blocks
from ..lab.reporting.page.ranking import ranking
from ..lab.reporting.page.verdict import verdict
from ..lab.reporting.provenance import command_of, machine
from ..lab.reporting.run_report import FRONT, LAYERS, networks_grid
from ..lab.reporting.style import COLOURS, GREY
from ..lab.reporting.tables import Table
from .config import Search
from .gain import Compared

HEADS = {
    "best": ("Best configurations", "By the validation images; no test image was looked at."),
    "front": ("Pareto front", "What no trial beats in MACs, parameters and validation accuracy at once."),
}
COSTS = {"macs_kept": "Multiply-accumulates", "params_kept": "Parameters"}
COLUMNS = {"best": "which", "budget": "budget", "trial": "trial", "val_top1": "validation top-1, %"}
COLUMNS |= {"val_loss": "validation loss"}
COLUMNS |= {f"{name}_kept": f"{words} kept" for name, words in {"macs": "MACs", "params": "parameters"}.items()}
COLUMNS |= {"bytes_kept": "bytes kept"}
NETWORKS = "loss: the plan of selector loss. search: that of the trial with the lowest validation loss."
TRIALS = (
    "Each point is a trial; the first of a budget, the diamond, is the plan of selector loss. "
    "Rings: the Pareto front. Dotted: the dense network."
)


class Found(NamedTuple):
    """What a search leaves for its page; rows: its networks, dense first.

    right: which test images each network has right, as `packed` writes it.  images: how many there are.
    said: a sentence for each budget.  tables: those of HEADS, with words in their cells.  plans: by budget.
    """

    rows: Sequence[Compared]
    right: Mapping[str, str]
    images: int
    said: Sequence[str]
    trials: pd.DataFrame
    tables: Mapping[str, pd.DataFrame]
    plans: Mapping[str, Plan]
    environment: Mapping[str, Any]


def called(row: Compared) -> str:
    """Name a network of the search: dense, or its plan and its budget."""
    return f"{row.plan} at {row.budget}" if row.budget else row.plan


def comparison(search: Search, found: Found, name: str) -> Comparison:
    """Return the networks as those of one run; a search that added nothing has that of selector loss alone."""
    kept = [row for row in found.rows if row.plan != "search" or row.trial]
    rows = [
        {"network": called(row), "selector": "" if row.plan == "dense" else row.plan}
        | {"top1": row.test_top1, "loss": row.test_loss, "budget": row.budget, "refit": search.trials.refit}
        | {key: getattr(row, key) for key in ("params", "macs", "bytes")}
        for row in kept
    ]
    config = {**search.flat(""), "budget": None}
    made = {"config": config, "test_images": found.images, "latency_batches": [], "rows": rows, "right": found.right}
    return Comparison({name: {**made, "environment": found.environment}})


def page(search: Search, found: Found, name: str, title: str) -> Page:
    """Return the page."""
    shown, dense = comparison(search, found, name), found.rows[0]
    judged = verdict(shown)
    grid = networks_grid(shown, judged)
    pictures = [_progress(found.trials), *(_front(found.trials, key, dense) for key in COSTS)]
    added: list[Block] = [*(Prose(f"{sentence}.") for sentence in found.said), Columns(pictures)]
    tables = [Section(head, [_grid(found.tables[key], head)], note) for key, (head, note) in HEADS.items()]
    plans = [
        Fold(f"The best plan, {budget}", layer_blocks(plan, of=budget), number == 0)
        for number, (budget, plan) in enumerate(found.plans.items())
    ]
    settings: list[Block] = [Code(json.dumps(search.flat(""), indent=1), "all settings")]
    again: list[Block] = [Code(command_of("search", search), "the command"), Fold("Every setting", settings)]
    sections = [
        Section("Accuracy against cost", [ranking(shown), *fronts(shown)], FRONT),
        Section("All networks", [grid._replace(copies=copies(grid.table))], NETWORKS),
        Section("What the search added to selector loss", added, TRIALS),
        *tables,
        Section("What became of each layer", plans, LAYERS),
        Section("Do it again", again, f"{machine(found.environment)}."),
    ]
    chosen = "" if judged.choice is None else judged.choice[1]["network"]
    return Page(title, judged.headline, judged.sentences, sections, judged.facts, chosen)


def _grid(frame: pd.DataFrame, caption: str) -> Grid:
    left = list(frame.columns).index("trial")
    rows = [[str(cell) for cell in row] for row in frame.to_numpy()]
    table = Table([COLUMNS[name] for name in frame.columns], rows, left)
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
    figure.update_xaxes(title_text="trial", tickformat="d")
    figure.update_yaxes(title_text="loss on validation images")
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
    figure.update_yaxes(title_text="validation top-1, %")
    said = "; ".join(f"{row.val_top1:.2f} % at {row[key]:.1%}" for _, row in shown.iterrows())
    title = COSTS[key]
    return Plot(figure, f"Accuracy against {title.lower()}; on the front: {said}. Dotted: dense.", f"{title}, by trial")
