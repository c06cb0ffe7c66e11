"""Draw a figure of the manifest: its kind, the records that it needs, and the name of its run below it."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from checks import require

from ..lab.reporting.canvas import drawn, styled
from ..lab.reporting.style import GREY
from ..lab.results import result
from ..lab.results.result import Result
from . import batches, costs, dots, epochs, layers, radar, tuning
from .manifest import Wanted, figures

Draw = Callable[[Wanted, Mapping[str, Result]], Figure]
KINDS: dict[str, Draw] = {
    "costs": costs.draw,
    "scatter": costs.scatter,
    "epochs": epochs.draw,
    "ranks": layers.ranks,
    "layers": layers.shares,
    "batches": batches.draw,
    "dots": dots.draw,
    "radar": radar.draw,
    "tuning": tuning.draw,
}


@styled()
def draw(wanted: Wanted) -> Figure:
    """Draw the figure; ValueError where a record is missing, torn or lacks a field, with its file and the field."""
    require(wanted.kind in KINDS, f"figures.toml: {wanted.name}.kind", wanted.kind, f"one of {', '.join(KINDS)}")
    figure = KINDS[wanted.kind](wanted, {name: result.read(name) for name in wanted.of})
    figure.supxlabel(
        f"run{'s' * (len(wanted.of) > 1)}: {', '.join(wanted.of)}", x=0.995, ha="right", fontsize=6, color=GREY
    )
    return figure


def lacking(wanted: Wanted) -> list[str]:
    """Return the experiments without a record that the figure needs."""
    return [name for name in wanted.of if not result.path_of(name).is_file()]


def all_svg(wanted: Iterable[Wanted] | None = None) -> dict[str, str]:
    """Return name -> SVG of every figure whose records are there; ValueError for a record that cannot be read."""
    every = figures().values() if wanted is None else wanted
    return {figure.name: drawn(draw(figure), "svg").decode() for figure in every if not lacking(figure)}


def folder_of(out: Path) -> Path:
    """Make the folder that figures go to; ValueError where it cannot be one."""
    require(not out.is_file(), "out", str(out), "a folder")
    out.mkdir(parents=True, exist_ok=True)
    return out
