"""One metric against another: a line for each row, a point for each level, bars of a standard deviation over seeds."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator, PercentFormatter

from ..lab.reporting.canvas import canvas
from ..lab.reporting.style import GREY, styles
from ..lab.results.metrics import metrics
from ..lab.results.result import Result
from .manifest import Wanted

DENSE = ("dense", "1")
WIDTH, HEIGHT = 6.1, 2.9  # inches: the width of the text
KEPT, FOLD, ABOVE = "kept", "x smaller", "above dense"  # beside a metric: how it is held against the dense network's
LEVEL = "level"  # in the place of a metric: the level itself


def draw(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw y against x of each panel's rows; x is a metric, `axis` says how else it may be written."""
    x, y = wanted.x, wanted.y[0]
    columns = min(len(wanted.panels), 2)
    rows = -(-len(wanted.panels) // columns)
    alike = len(wanted.of) == 1
    figure, axes = canvas(columns, (WIDTH, (HEIGHT if columns > 1 else 3.2) * (0.4 + 0.6 * rows)), alike, rows)
    for ax, panel in zip(axes, wanted.panels):
        for shown, style in zip(panel.shown, styles([shown.drawn for shown in panel.shown])):
            _line(ax, records[shown.of], shown.row, x, y, style | {"label": shown.name})
        record = records[panel.of]
        if y in record.numbers.get("dense", {}).get("1", {}):
            ax.axhline(record.number(*DENSE, y).mean, color=GREY, linewidth=1, linestyle=":", label="dense")
        ax.set_title(panel.title)
        axis(ax, x)
        if wanted.zoom is not None:
            ax.set_ylim(bottom=wanted.zoom)
        if metrics()[y].unit == "B":
            ax.yaxis.set_major_formatter(EngFormatter(sep="\N{THIN SPACE}"))
    for ax in axes[:: columns if alike else 1]:
        ax.set_ylabel(metrics()[y].heading)
    for ax in axes[len(wanted.panels) :]:
        ax.set_visible(False)
    legend(figure, axes)
    return figure


def _line(ax: Axes, record: Result, row: str, x: Sequence[str], y: str, style: Mapping[str, Any]) -> None:
    if row not in record.numbers:
        record.number(row, "", y)  # says what is missing
    places = {level: along(record, row, level, x) for level in record.numbers[row]}
    levels = sorted(places, key=lambda level: places[level])
    ys = [record.number(row, level, y) for level in levels]
    spread = [number.std or 0.0 for number in ys] if any(number.n > 1 for number in ys) else None
    middles = [number.mean for number in ys]
    ax.errorbar([places[level] for level in levels], middles, yerr=spread, elinewidth=0.8, **style)


def along(record: Result, row: str, level: str, x: Sequence[str]) -> float:
    """Return where a network stands along an axis.

    x: a metric; ["macs", "kept"] the share that is left of the dense network's; ["bytes", "x smaller"] its inverse;
    ["loss", "above dense"] the difference; ["level"] the number that the level is.
    """
    if x[0] == LEVEL:
        return float(level.rpartition("=")[2])
    value, how = record.number(row, level, x[0]).mean, x[1:]
    if not how:
        return value
    dense = record.number(*DENSE, x[0]).mean
    return {KEPT: value / dense, FOLD: dense / value, ABOVE: value - dense}[how[0]]


def axis(ax: Axes, x: Sequence[str]) -> None:
    """Say what the horizontal axis is, and write its numbers for readers."""
    ax.xaxis.set_major_locator(MaxNLocator(6))
    if x[0] == LEVEL:
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_formatter(PercentFormatter(1, 1))
        ax.xaxis.set_minor_locator(NullLocator())
    elif x[1:] == (KEPT,):
        ax.xaxis.set_major_formatter(PercentFormatter(1, 0))
    elif not x[1:] and metrics()[x[0]].decimals == 0:  # whole numbers, which may be large
        ax.xaxis.set_major_formatter(EngFormatter(sep="\N{THIN SPACE}"))
    ax.set_xlabel(heading(x))


def heading(x: Sequence[str]) -> str:
    """Return the words beside an axis."""
    if x[0] == LEVEL:
        return "share of the numbers that is stored"
    metric = metrics()[x[0]]
    ends = {KEPT: f"{metric.title} kept", FOLD: f"{metric.title}, times smaller", ABOVE: f"{metric.title} above dense"}
    return ends[x[1]] if x[1:] else metric.heading


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """Put one legend for all panels above them, each name once."""
    found = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels())}
    figure.legend(
        list(found.values()), list(found), loc="outside upper center", ncols=len(found) if len(found) <= 7 else 5
    )
