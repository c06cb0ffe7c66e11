"""Several metrics of several networks on one wheel: farther out is better on every spoke."""

import math
from collections.abc import Mapping

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

from ..lab.reporting.style import kernel_style, look
from ..lab.results.metrics import metrics
from ..lab.results.result import Result
from .manifest import Shown, Wanted


def draw(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw each row as a polygon: accuracies as they are, costs as the share of the dense network's that is saved."""
    figure = Figure(figsize=(6.1, 3.3))
    FigureCanvasAgg(figure)
    angles = [2 * math.pi * number / len(wanted.y) for number in range(len(wanted.y))]
    for number, panel in enumerate(wanted.panels):
        ax = figure.add_subplot(1, len(wanted.panels), number + 1, projection="polar")
        assert isinstance(ax, PolarAxes)
        for shown in panel.shown:
            values = [_outwards(records[shown.of], shown, metric) for metric in wanted.y]
            ax.plot([*angles, angles[0]], [*values, values[0]], label=shown.name, **kernel_style(shown.drawn))
            ax.fill(angles, values, color=look(shown.drawn).colour, alpha=0.06)
        ax.set_xticks(angles, [_spoke(metric) for metric in wanted.y])
        ax.set_ylim(0, 1)
        ax.set_yticks([0.25, 0.5, 0.75, 1.0], ["25 %", "50 %", "75 %", ""], fontsize=6)
        ax.set_title(panel.title)
        handles, labels = ax.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center")
    return figure


def _outwards(record: Result, shown: Shown, metric: str) -> float:
    value = record.number(shown.row, shown.level, metric).mean
    if metrics()[metric].better == "higher":
        return value / 100
    return max(0.0, 1 - value / record.number("dense", "1", metric).mean)


def _spoke(metric: str) -> str:
    title = metrics()[metric].title
    return title if metrics()[metric].better == "higher" else f"{title}\nsaved"
