"""Filters as pictures: before, after and their difference; and their energy by frequency under each transform."""

import math
from collections.abc import Sequence

import plotly.graph_objects as go
import torch
from plotly.subplots import make_subplots
from torch import Tensor

import stage3_torch
from contract import KERNELS

from ..lab.reporting.page import Columns, Plot
from .source import Layer

MOST = 36  # filters in a picture
SIDE = 48  # rows and columns of a matrix in a picture
COLOURS = "RdBu"
TRANSFORMS = ("dct", "dst", "dht", "dwt")


def mosaic(w: Tensor) -> list[list[float | None]]:
    """Return filters (o, i, h, w) as one picture with gaps, the first MOST; a matrix as means over blocks."""
    if w.ndim == 2 or w.shape[-2:] == (1, 1):
        matrix = w.flatten(1)
        sizes = min(SIDE, matrix.shape[0]), min(SIDE, matrix.shape[1])
        return _rounded(torch.nn.functional.adaptive_avg_pool2d(matrix[None], sizes)[0].tolist())
    tiles = w.flatten(0, 1)[:MOST]
    across = math.ceil(len(tiles) ** 0.5)
    height, width = tiles.shape[-2:]
    down = math.ceil(len(tiles) / across)
    picture = torch.full((down * (height + 1) - 1, across * (width + 1) - 1), float("nan"))
    for number, tile in enumerate(tiles):
        top, left = number // across * (height + 1), number % across * (width + 1)
        picture[top : top + height, left : left + width] = tile
    return _rounded(picture.tolist())


def _rounded(rows: list[list[float]]) -> list[list[float | None]]:
    return [[None if math.isnan(value) else float(f"{value:.3g}") for value in row] for row in rows]


def pictures(layer: Layer) -> Columns:
    """Draw the weight before, after and their difference, on one scale."""
    parts = {"after": layer.after}
    if layer.before is not None:
        parts = {"before": layer.before.float(), **parts, "difference": layer.before.float() - layer.after}
    top = max(float(part.abs().max()) for part in parts.values()) or 1.0
    shown = "the first filters" if layer.after.ndim == 4 and layer.after.shape[-2:] != (1, 1) else "means over blocks"
    plots = []
    for when, part in parts.items():
        heat = go.Heatmap(z=mosaic(part), zmin=-top, zmax=top, colorscale=COLOURS, hoverinfo="z")
        figure = go.Figure(heat.update(colorbar={"thickness": 10, "outlinewidth": 0, "nticks": 5}))
        figure.update_xaxes(visible=False, constrain="domain")
        figure.update_yaxes(visible=False, autorange="reversed", scaleanchor="x", constrain="domain")
        figure.update_layout(height=280)
        alt = (
            f"Weight of {layer.row.name}, {when}: {shown}, norm {float(part.norm()):.3g}; red negative, blue positive."
        )
        plots.append(Plot(figure, alt, f"Weight, {when}"))
    return Columns(plots)


def spectra(layer: Layer) -> Plot | None:
    """Draw the share of the filters' energy at each frequency of height and width, before above after."""
    if layer.after.ndim != 4 or min(layer.after.shape[-2:]) == 1:
        return None
    rows = {"after": layer.after} if layer.before is None else {"before": layer.before, "after": layer.after}
    titles = [f"{name}, {when}" for when in rows for name in TRANSFORMS]
    figure = make_subplots(len(rows), len(TRANSFORMS), subplot_titles=titles, vertical_spacing=0.16)
    said = []
    for line, (when, w) in enumerate(rows.items(), 1):
        for column, name in enumerate(TRANSFORMS, 1):
            energy = shares(w, name)
            heat = go.Heatmap(
                z=_rounded(energy.tolist()),
                zmin=0,
                colorscale="Purples",
                showscale=False,
                hovertemplate="%{z:.1%}<extra></extra>",
            )
            figure.add_trace(heat, line, column)
            said.append(f"{name} {when} {energy[0, 0]:.0%} at the lowest")
    figure.update_xaxes(visible=False)
    for number in range(1, len(titles) + 1):
        squares = {"scaleanchor": f"x{number if number > 1 else ''}", "constrain": "domain"}
        figure.update_layout(
            {f"yaxis{number if number > 1 else ''}": {"visible": False, "autorange": "reversed", **squares}}
        )
    figure.update_annotations(font_size=12)
    figure.update_layout(height=140 * len(rows) + 20, margin={"t": 34})
    return Plot(
        figure,
        f"Energy of the filters of {layer.row.name} by frequency: {'; '.join(said)}.",
        "Energy by frequency of height and width, lowest at the upper left",
    )


def shares(w: Tensor, kernel: str) -> Tensor:
    """Return the share of the energy of filters (o, i, h, w) at each coefficient (h, w) of a transform of both axes."""
    energy = transformed(w.double(), kernel, (2, 3)).square().sum((0, 1))
    return energy / energy.sum().clamp_min(1e-300)


def transformed(x: Tensor, kernel: str, axes: Sequence[int]) -> Tensor:
    """Return the coefficients of x along these axes; of wavelets Haar's, over all levels that an axis has."""
    for axis in axes:
        levels = (x.shape[axis] - 1).bit_length()
        given = {"wavelet": "haar", "levels": levels} if kernel == "dwt" else {}
        code = getattr(stage3_torch, KERNELS[kernel].encode)(x, axis=axis, **given)
        x = torch.cat(code, axis) if isinstance(code, tuple) else code
    return x
