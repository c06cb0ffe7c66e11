"""One metric against another: a line for each row, a point for each level, bars of a standard deviation over seeds."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator, PercentFormatter

from ..lab.reporting.canvas import canvas
from ..lab.reporting.style import GREY, kernel_style, styles
from ..lab.results.metrics import metrics
from ..lab.results.result import Result
from .manifest import Wanted

DENSE = ("dense", "1")
WIDTH, HEIGHT = 6.1, 2.9  # inches: the width of the text
FOLD = "x smaller"  # x = ["macs", "x smaller"]: how many times less than the dense network, instead of the share kept


def draw(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw y against x of each panel's rows.

    x is a metric; ["macs", "kept"] is the share that is left of the dense network's, ["bytes", "x smaller"] its
    inverse.
    """
    x, y = wanted.x, wanted.y[0]
    figure, axes = canvas(
        len(wanted.panels), (WIDTH, HEIGHT if len(wanted.panels) > 1 else 3.2), share_y=len(wanted.of) == 1
    )
    for ax, panel in zip(axes, wanted.panels):
        record = records[panel.of]
        for (row, name), style in zip(panel.named(), styles(panel.rows)):
            _line(ax, record, row, x, y, style | {"label": name})
        if DENSE[0] in record.numbers and DENSE[0] not in panel.rows:
            level = record.number(*DENSE, y).mean
            ax.axhline(level, color=GREY, linewidth=1, linestyle=":", label="dense")
        ax.set_xlabel(_heading(x))
        ax.set_title(panel.title)
        if x[1:] == ("kept",):
            ax.xaxis.set_major_formatter(PercentFormatter(1, 0))
        elif len(x) == 1 and metrics()[x[0]].decimals == 0:  # whole numbers, which may be large
            ax.xaxis.set_major_formatter(EngFormatter(sep="\N{THIN SPACE}"))
        ax.xaxis.set_major_locator(MaxNLocator(6))
        if wanted.zoom is not None:
            ax.set_ylim(bottom=wanted.zoom)
    axes[0].set_ylabel(metrics()[y].heading)
    legend(figure, axes)
    return figure


def _line(ax: Axes, record: Result, row: str, x: tuple[str, ...], y: str, style: Mapping[str, Any]) -> None:
    record.number(row, next(iter(record.numbers.get(row, {"1": {}}))), y)  # names what is missing
    places = {level: _along(record, row, level, x) for level in record.numbers[row]}
    levels = sorted(places, key=lambda level: places[level])
    ys = [record.number(row, level, y) for level in levels]
    spread = [number.std or 0.0 for number in ys] if any(number.n > 1 for number in ys) else None
    places_along = [places[level] for level in levels]
    ax.errorbar(places_along, [n.mean for n in ys], yerr=spread, elinewidth=0.8, **style)


def _along(record: Result, row: str, level: str, x: tuple[str, ...]) -> float:
    value = record.number(row, level, x[0]).mean
    if len(x) == 1:
        return value
    share = value / record.number(*DENSE, x[0]).mean
    return 1 / share if x[1] == FOLD else share


def _heading(x: tuple[str, ...]) -> str:
    metric = metrics()[x[0]]
    return (
        metric.heading if len(x) == 1 else f"{metric.title}, times smaller" if x[1] == FOLD else f"{metric.title} kept"
    )


def legend(figure: Figure, axes: list[Axes]) -> None:
    """Put one legend for all panels below them, each name once."""
    found = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels())}
    figure.legend(list(found.values()), list(found), loc="outside upper center", ncols=min(len(found), 7))


def scatter(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw y against x of every level of the panels' rows, a point each, with the line on which both are equal."""
    figure, axes = canvas(len(wanted.panels), (WIDTH, 3.2))
    for ax, panel in zip(axes, wanted.panels):
        record, ends = records[panel.of], list[float]()
        for row, name in panel.named():
            points = [
                (record.number(row, level, wanted.x[0]).mean, record.number(row, level, wanted.y[0]).mean)
                for level in record.numbers.get(row, {})
            ]
            ends += [value for point in points for value in point if value > 0]
            ax.plot(*zip(*points), label=name, **kernel_style(row) | {"linestyle": "none"})
        ax.plot([min(ends), max(ends)], [min(ends), max(ends)], color=GREY, linewidth=1, label="equal")
        ax.set(xscale="log", yscale="log", title=panel.title, xlabel=metrics()[wanted.x[0]].heading)
    axes[0].set_ylabel(metrics()[wanted.y[0]].heading)
    legend(figure, axes)
    return figure
