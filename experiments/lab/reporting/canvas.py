"""Figures of matplotlib: one look, whatever the user's settings; the same figure is the same bytes, written whole."""

import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

styled = partial(rc_context, fname=Path(__file__).with_name("figures.mplstyle"))  # with styled(): or @styled()
ENDINGS: dict[str, dict[str, Any]] = {
    "png": {},
    "pdf": {"metadata": {"CreationDate": None}},
    "svg": {"metadata": {"Date": None}},
}


@styled()
def canvas(columns: int, size: tuple[float, float], share_y: bool = False, rows: int = 1) -> tuple[Figure, list[Axes]]:
    """Make a figure of so many panels side by side, `size` (width, height) in inches, and its axes."""
    figure = Figure(figsize=size)
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, sharey=share_y, squeeze=False).flat)


@styled()
def drawn(figure: Figure, ending: str) -> bytes:
    """Return what the file of a figure holds: of the same figure always the same bytes, whatever was drawn before.

    Panels are laid out once: each drawing would start from where the last one has left them.
    """
    if figure.get_layout_engine() is not None:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    file = io.BytesIO()
    figure.savefig(file, format=ending, **ENDINGS[ending])
    return file.getvalue()


def save(figure: Figure, path: Path, endings: Sequence[str] = ("png", "pdf")) -> None:
    """Write the figure as PATH.png and PATH.pdf, or with other endings, each whole or not at all."""
    from layers.network import whole  # with torch, which those who only draw need not wait for

    for ending in endings:
        with whole(path.with_name(f"{path.name}.{ending}")) as temporary:
            temporary.write_bytes(drawn(figure, ending))
