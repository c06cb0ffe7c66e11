"""Singular values of each layer in the metric of the loss, with the cut that the plan chose."""

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from layers import Plan

from ..style import GREY, look
from .blocks import Block, Columns, Fold, Plot, Prose
from .theme import logarithmic

SIDES = ("outputs", "inputs", "inputs and height")
MOST = 256  # points of a line: a figure of a thousand would be as many bytes for the same curve


def spectra_blocks(plan: Plan, spectra: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Block]:
    """Return a figure for each layer whose singular values were kept: those before the cut filled, those lost open."""
    rows = [row for row in plan.layers if spectra.get(row.name)]
    plots = [_spectrum(row.name, row.kernel or "dense", spectra[row.name]) for row in rows]
    reading = (
        "Filled: kept. Open: cut off, and half the sum of their squares is the rise of the loss that the cut brings."
    )
    title = "Singular values in the metric of the loss, and the cut"
    return [Fold(title, [Prose(reading), Columns(plots)], open=len(plots) <= 4)] if plots else []


def _spectrum(name: str, kernel: str, sides: Sequence[Mapping[str, Any]]) -> Plot:
    figure, style, said = go.Figure(), look(kernel), []
    for number, side in enumerate(sides):
        values, kept = side["values"], side["kept"]
        shown = sorted({*range(0, len(values), -(-len(values) // MOST)), min(kept, len(values)) - 1})
        title = SIDES[number] if len(sides) > 1 else ""
        figure.add_scatter(
            x=[place + 1 for place in shown],
            y=[values[place] for place in shown],
            mode="lines+markers",
            name=title or kernel,
            line={"color": GREY, "width": 1, "dash": ("solid", "dash", "dot")[number]},
            marker={
                "color": style.colour,
                "size": 7,
                "symbol": [style.symbol + "-open" * (place >= kept) for place in shown],
            },
            hovertemplate=f"number %{{x}} of {len(values)}: %{{y:.3g}}<br>{kept} kept<extra>{title}</extra>",
        )
        said.append(f"{title or 'rank'}: {kept} of {len(values)} kept")
        if kept < len(values):
            figure.add_vline(kept + 0.5, line={"color": GREY, "width": 1.5, "dash": "dot"})
    logarithmic(figure, [value for side in sides for value in side["values"]])
    figure.update_xaxes(title_text="singular value, from the largest", rangemode="tozero")
    figure.update_layout(height=280, showlegend=len(sides) > 1, margin={"t": 36 if len(sides) > 1 else 12})
    return Plot(figure, f"Singular values of {name} in the metric of the loss. {'; '.join(said)}.", name)
