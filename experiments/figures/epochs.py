"""Curves by epoch, or by trial: the mean over seeds as a line, from the least to the greatest seed as a band."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from checks import require

from ..lab.reporting.canvas import canvas
from ..lab.reporting.style import kernel_style, look
from ..lab.results.result import Result
from .costs import HEIGHT, WIDTH, legend
from .manifest import Shown, Wanted

TITLES = {
    "epoch_train_loss": "training cross-entropy",
    "epoch_val_top1": "top-1 of validation images, %",
    "epoch_seconds": "seconds of an epoch",
    "trial_val_loss": "cross-entropy of validation images",
}


def series(records: Mapping[str, Result], shown: Shown, name: str) -> list[list[Any]]:
    """Return the lists of a series, one for each seed; ValueError names the field that the record lacks."""
    found: Any = records[shown.of].series
    for place, key in enumerate((shown.row, shown.level, name)):
        path = ".".join(["series", shown.row, shown.level][: place + 1])
        require(key in found, f"{shown.of}.json: {path}", key, f"one of {', '.join(found) or 'none'}")
        found = found[key]
    return list(found)


def draw(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw each series of y in axes of its own, side by side, for each of the manifest's panels."""
    pairs = [(panel, name) for panel in wanted.panels for name in wanted.y]
    figure, axes = canvas(len(pairs), (WIDTH, HEIGHT))
    for ax, (panel, name) in zip(axes, pairs):
        for shown in panel.shown:
            by_epoch = list(zip(*series(records, shown, name)))
            places = range(1, len(by_epoch) + 1)
            style = kernel_style(shown.drawn) | {"markevery": max(1, len(by_epoch) // 8)}
            ax.plot(places, [sum(values) / len(values) for values in by_epoch], label=shown.name, **style)
            ends = [min(values) for values in by_epoch], [max(values) for values in by_epoch]
            ax.fill_between(places, *ends, color=look(shown.drawn).colour, alpha=0.15, linewidth=0)
        ax.set(xlabel="epoch", ylabel=TITLES.get(name, name), title=panel.title)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, axes)
    return figure


def trials(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw a series of y by trial: every trial as a dot, and the best so far as a line; the first seed's."""
    figure, axes = canvas(len(wanted.panels), (WIDTH, HEIGHT))
    for ax, panel in zip(axes, wanted.panels):
        for shown in panel.shown:
            values = [
                float("nan") if value is None else float(value) for value in series(records, shown, wanted.y[0])[0]
            ]
            best = [
                min((other for other in values[: place + 1] if other == other), default=value)
                for place, value in enumerate(values)
            ]
            colour = look(shown.drawn).colour
            ax.plot(range(len(values)), values, ".", color=colour, alpha=0.5, label="a trial")
            ax.plot(range(len(values)), best, color=colour, label="least so far")
        ax.set(
            xlabel="trial; the first is the plan of the planner",
            ylabel=TITLES.get(wanted.y[0], wanted.y[0]),
            title=panel.title,
        )
    legend(figure, axes)
    return figure
