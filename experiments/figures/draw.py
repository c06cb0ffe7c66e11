"""Draw a figure of the manifest: its kind, the records that it needs, and the name of its run below it."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from matplotlib.figure import Figure

from checks import require

from ..lab.reporting.canvas import drawn, styled
from ..lab.reporting.style import GREY
from ..lab.results import result
from ..lab.results.result import Result
from . import batches, costs, dots, epochs, layers, points, radar, tuning
from .manifest import Wanted, figures

Draw = Callable[[Wanted, Mapping[str, Result]], Figure]
KINDS: dict[str, Draw] = {
    "costs": costs.draw,
    "points": points.draw,
    "scatter": points.scatter,
    "epochs": epochs.draw,
    "trials": epochs.trials,
    "ranks": layers.ranks,
    "layers": layers.shares,
    "batches": batches.draw,
    "dots": dots.draw,
    "radar": radar.draw,
    "tuning": tuning.draw,
}


def draw(wanted: Wanted) -> Figure:
    """Draw the figure; ValueError where a record is missing, torn or lacks a field, with its file and the field."""
    return _of_records(wanted, {name: result.read(name) for name in wanted.of})


@styled()
def _of_records(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    require(wanted.kind in KINDS, f"figures.toml: {wanted.name}.kind", wanted.kind, f"one of {', '.join(KINDS)}")
    figure = KINDS[wanted.kind](wanted, records)
    words = f"run{'s' * (len(wanted.of) > 1)}: {', '.join(wanted.of)}"
    figure.supxlabel(words, x=0.995, ha="right", fontsize=6, color=GREY)
    return figure


def all_figures(wanted: Iterable[Wanted]) -> tuple[dict[str, Figure], dict[str, str]]:
    """Return the figures that can be drawn, and why the others cannot, by name.

    A record that is not there yet is no error, nor one that lacks a number: times of a busy machine are not kept.
    ValueError for a record that cannot be read.
    """
    made, left = dict[str, Figure](), dict[str, str]()
    for figure in wanted:
        if missing := [name for name in figure.of if not result.path_of(name).is_file()]:
            left[figure.name] = f"no results, python -m experiments.reproduce {' '.join(missing)} gives them"
            continue
        records = {name: result.read(name) for name in figure.of}
        try:
            made[figure.name] = _of_records(figure, records)
        except ValueError as error:
            left[figure.name] = str(error)
    return made, left


def all_svg() -> tuple[dict[str, str], dict[str, str]]:
    """Return name -> SVG of every figure of the manifest that can be drawn, and name -> why not of the others."""
    made, left = all_figures(figures().values())
    return {name: drawn(figure, "svg").decode() for name, figure in made.items()}, left


def folder_of(out: Path) -> Path:
    """Make the folder that figures go to; ValueError where it cannot be one."""
    require(not out.is_file(), "out", str(out), "a folder")
    out.mkdir(parents=True, exist_ok=True)
    return out
