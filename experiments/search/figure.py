"""The figure of a search, as PNG and PDF: the loss from trial to trial, and the Pareto front."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from ..lab.reporting.canvas import canvas, styled
from ..lab.reporting.style import COLOURS, GREY

NARROW = 0.05  # no panel shows less of a cost: what one budget leaves open would look like much


@styled()
def draw(table: pd.DataFrame, dense: float, title: str) -> Figure:
    """Draw `tables.trials`; dense: the validation accuracy of the dense network, in percent."""
    figure, (progress, *fronts) = canvas(3, (10, 3.2))
    complete = table[table.state == "complete"]
    for number, (budget, group) in enumerate(complete.groupby("budget", sort=False)):
        colour = COLOURS[number % len(COLOURS)]
        progress.plot(group.trial, group.val_loss, ".", color=colour, alpha=0.4, markersize=5)
        progress.plot(
            group.trial, group.val_loss.cummin(), color=colour, linewidth=1.4, label=f"{budget}, least so far"
        )
        for ax, metric in zip(fronts, ("macs_kept", "params_kept")):
            ax.plot(group[metric], group.val_top1, ".", color=colour, alpha=0.3, markersize=5)
            first = group[group.trial == 0]
            ax.plot(first[metric], first.val_top1, "D", color=colour, markersize=8, label=f"{budget}, selector loss")
    progress.set_xlabel("trial; the first is the plan of selector loss")
    progress.set_ylabel("cross-entropy on validation images")
    shown = complete[complete.front].sort_values(["macs", "params"])
    for ax, metric, name in zip(fronts, ("macs_kept", "params_kept"), ("multiply-accumulates", "parameters")):
        x, y, ring = shown[metric], shown.val_top1, COLOURS[0]
        ax.plot(x, y, "o", markerfacecolor="none", markeredgecolor=ring, markersize=12, label="Pareto front")
        ax.axhline(dense, color=GREY, linewidth=1, linestyle=":", label=f"dense, {dense:.2f} %")
        ax.set_xlabel(f"{name} kept")
        ax.set_ylabel("top-1 on validation images, %")
        ax.xaxis.set_major_formatter(PercentFormatter(1))
        _widen(ax)
    for ax in (progress, *fronts):
        ax.legend()
    figure.suptitle(title)
    return figure


def _widen(ax: Axes) -> None:
    low, high = ax.get_xlim()
    if high - low < NARROW:
        middle = (low + high) / 2
        ax.set_xlim(middle - NARROW / 2, middle + NARROW / 2)
