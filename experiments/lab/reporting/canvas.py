"""Figures of matplotlib: one look, no global state, written whole."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from layers.network import whole

ENDINGS: dict[str, dict[str, Any]] = {
    "png": {"dpi": 150},
    "pdf": {"metadata": {"CreationDate": None}},  # the same figure is the same file
    "svg": {"metadata": {"Date": None}},
}


def canvas(columns: int, size: tuple[float, float], share_y: bool = False) -> tuple[Figure, list[Axes]]:
    """Make a figure of so many panels side by side, `size` (width, height) in inches, and its axes."""
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = list(figure.subplots(1, columns, sharey=share_y, squeeze=False)[0])
    for ax in axes:
        ax.grid(alpha=0.3, linewidth=0.6)
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Figure, path: Path, endings: tuple[str, ...] = ("png", "pdf")) -> None:
    """Write the figure as PATH.png and PATH.pdf, or with other endings."""
    for ending in endings:
        with whole(path.with_name(f"{path.name}.{ending}")) as temporary:
            figure.savefig(temporary, format=ending, **ENDINGS[ending])
