"""Training curves: validation accuracy and training loss by epoch, a line per network."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from ..style import look
from .blocks import Block, Columns, Legend, Plot

PANELS = {"val_top1": ("Validation top-1", "%"), "train_loss": ("Training loss", "cross-entropy")}


class Line(NamedTuple):
    """A curve: its name, whose first kernel gives colour and marker, its points, and how it is drawn."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    dash: str = "solid"
    mode: str = "lines+markers"
    colour: str | None = None  # instead of the kernel's


def lines(shown: Sequence[Line], x: str, y: str, height: int = 340, legend: bool = False) -> go.Figure:
    """Return a figure of curves; x and y: what its axes are."""
    figure = go.Figure()
    for line in shown:
        style = look(line.name)
        colour = line.colour or style.colour
        figure.add_scatter(
            x=list(line.x),
            y=list(line.y),
            mode=line.mode,
            name=line.name,
            line={"color": colour, "width": 2, "dash": line.dash},
            marker={"symbol": style.symbol, "size": 8, "color": colour},
            hovertemplate=f"<b>{line.name}</b><br>%{{x:.4g}}: %{{y:.4g}}<extra></extra>",
        )
    figure.update_layout(height=height, showlegend=legend)
    figure.update_xaxes(title_text=x)
    figure.update_yaxes(title_text=y)
    return figure


def curves(history: Sequence[Mapping[str, Any]]) -> list[Block]:
    """Return a figure of each quantity that the epochs of a run have; nothing where nothing was trained."""
    networks = list(dict.fromkeys(row["network"] for row in history))
    plots = []
    for key, (title, axis) in PANELS.items():
        shown, said = [], []
        for network in networks:
            rows = [row for row in history if row["network"] == network and row.get(key) is not None]
            if rows:
                shown.append(Line(network, [row["epoch"] + 1 for row in rows], [row[key] for row in rows]))
                said.append(f"{network} from {rows[0][key]:.3g} to {rows[-1][key]:.3g} in {len(rows)} epochs")
        if shown:
            figure = lines(shown, "epoch", axis)
            figure.update_xaxes(rangemode="tozero")
            plots.append(Plot(figure, f"{title} by epoch: {'; '.join(said)}.", title))
    return [Legend(networks), Columns(plots)] if plots else []
