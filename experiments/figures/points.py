"""Single networks as points: with their names, or of all levels of some rows with the line on which both are equal."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from checks import require

from ..lab.reporting.canvas import canvas
from ..lab.reporting.style import GREY, kernel_style
from ..lab.results.result import Result
from .costs import ABOVE, DENSE, WIDTH, along, axis, heading, legend
from .manifest import Wanted

MARKERS = "osD^vPX<>ph*d"


def draw(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw every row of a panel at its level as a point with a marker of its own, named beside the axes."""
    figure, axes = canvas(len(wanted.panels), (WIDTH, 3.3))
    for ax, panel in zip(axes, wanted.panels):
        for number, shown in enumerate(panel.shown):
            record = records[shown.of]
            x, y = along(record, shown.row, shown.level, wanted.x), record.number(shown.row, shown.level, wanted.y[0])
            style = kernel_style(shown.drawn) | {"marker": MARKERS[number % len(MARKERS)], "linestyle": "none"}
            ax.errorbar(x, y.mean, yerr=y.std, label=shown.name, elinewidth=0.8, **style)
        dense = records[panel.of].number(*DENSE, wanted.y[0]).mean
        ax.axhline(dense, color=GREY, linewidth=1, linestyle=":", label="dense")
        ax.set_title(panel.title)
        axis(ax, wanted.x)
    axes[0].set_ylabel(heading(wanted.y))
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", ncols=1)
    return figure


def scatter(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw y against x of every level of the panels' rows on logarithmic scales, with the line on which both are equal.

    Where y is what a metric is above dense, points that are not above it cannot be shown and are left out.
    """
    figure, axes = canvas(len(wanted.panels), (WIDTH, 3.2))
    for ax, panel in zip(axes, wanted.panels):
        ends = list[float]()
        for shown in panel.shown:
            record, pairs = records[shown.of], list[tuple[float, float]]()
            for level in record.numbers.get(shown.row, {}) or {shown.level: {}}:
                pair = tuple(along(record, shown.row, level, by) for by in (wanted.x, wanted.y))
                if min(pair) > 0 or ABOVE not in wanted.y:
                    pairs.append((pair[0], pair[1]))
            ends += [value for pair in pairs for value in pair]
            style = kernel_style(shown.drawn) | {"linestyle": "none"}
            ax.plot([x for x, _ in pairs], [y for _, y in pairs], label=shown.name, **style)
        require(bool(ends), f"{panel.of}.json: {' '.join(wanted.y)}", "none", "above zero of a network or more")
        ax.plot([min(ends), max(ends)], [min(ends), max(ends)], color=GREY, linewidth=1, label="equal")
        ax.set(xscale="log", yscale="log", title=panel.title, xlabel=heading(wanted.x))
    axes[0].set_ylabel(heading(wanted.y))
    legend(figure, axes)
    return figure
