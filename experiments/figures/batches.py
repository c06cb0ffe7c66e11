"""Times and memory of networks, a group of bars for each metric, the rows side by side."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from ..lab.reporting.canvas import canvas
from ..lab.reporting.style import bar_style
from ..lab.results.metrics import metrics
from ..lab.results.result import Result
from .costs import WIDTH, legend
from .manifest import Wanted


def draw(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw each metric of y, which latencies at some batch sizes are, in axes of its own, over the first row's."""
    figure, axes = canvas(len(wanted.y), (WIDTH, 2.6))
    (panel,) = wanted.panels
    for ax, metric in zip(axes, wanted.y):
        for number, shown in enumerate(panel.shown):
            value = records[shown.of].number(shown.row, "1" if shown.row == "dense" else shown.level, metric)
            ax.bar(number, value.mean, 0.8, yerr=value.std, label=shown.name, **bar_style(shown.drawn))
        ax.set_xticks([])
        ax.set(ylabel=metrics()[metric].heading, title=panel.title)
    legend(figure, axes)
    return figure
