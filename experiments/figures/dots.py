"""One metric of rows that differ in one thing: a dot with its spread each, one below the other."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from ..lab.reporting.canvas import canvas
from ..lab.reporting.style import GREY, kernel_style
from ..lab.results.metrics import metrics
from ..lab.results.result import Result
from .costs import DENSE, WIDTH
from .manifest import Wanted

EACH = 0.2  # inches of a row


def draw(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw the metric x of each panel's rows at its level; every seed as a small point, the mean as a large one."""
    most = max(len(panel.rows) for panel in wanted.panels)
    figure, axes = canvas(len(wanted.panels), (WIDTH, 0.9 + EACH * most), share_y=_alike(wanted))
    metric = wanted.x[0]
    for ax, panel in zip(axes, wanted.panels):
        record = records[panel.of]
        for place, shown in enumerate(panel.shown):
            number = records[shown.of].number(shown.row, shown.level, metric)
            style = kernel_style(shown.drawn) | {"linestyle": "none"}
            ax.plot(number.values, [place] * number.n, ".", color=GREY, markersize=3)
            ax.errorbar(number.mean, place, xerr=number.std, elinewidth=1, **style)
        if DENSE[0] in record.numbers and metric in record.numbers[DENSE[0]][DENSE[1]]:
            ax.axvline(record.number(*DENSE, metric).mean, color=GREY, linewidth=1, linestyle=":")
        ax.set_yticks(range(len(panel.rows)), [shown.name for shown in panel.shown])
        ax.set(xlabel=metrics()[metric].heading, title=panel.title)
    low, high = min(ax.get_xlim()[0] for ax in axes), max(ax.get_xlim()[1] for ax in axes)
    for place, ax in enumerate(axes):
        ax.set_xlim(low, high)
        if place == 0 or not _alike(wanted):
            ax.invert_yaxis()
    return figure


def _alike(wanted: Wanted) -> bool:
    """Whether all panels have the same rows, so that their names stand once."""
    return len({panel.names or panel.rows for panel in wanted.panels}) == 1
