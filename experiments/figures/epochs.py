"""Curves by epoch: the mean over seeds as a line, from the least to the greatest seed as a band."""

from collections.abc import Mapping

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from checks import require

from ..lab.reporting.canvas import canvas
from ..lab.reporting.style import kernel_style, look
from ..lab.results.result import Result
from .costs import HEIGHT, WIDTH, legend
from .manifest import Panel, Wanted

TITLES = {
    "train_loss": "training cross-entropy",
    "val_top1": "top-1 of validation images, %",
    "epoch_seconds": "seconds of an epoch",
}


def series(record: Result, panel: Panel, row: str, name: str) -> list[list[float]]:
    """Return the lists of a series, one for each seed; ValueError names the field that the record lacks."""
    found = record.series
    for place, key in enumerate((row, panel.level, name)):
        path = ".".join(["series", row, panel.level][: place + 1])
        require(key in found, f"{record.name}.json: {path}", key, f"one of {', '.join(found)}")
        found = found[key]  # type: ignore[assignment]  # a level deeper
    return found  # type: ignore[return-value]


def draw(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw each series of y in a panel of its own, beside each other, for the rows of each of the manifest's panels."""
    pairs = [(panel, name) for panel in wanted.panels for name in wanted.y]
    figure, axes = canvas(len(pairs), (WIDTH, HEIGHT))
    for ax, (panel, name) in zip(axes, pairs):
        for row, title in panel.named():
            lists = series(records[panel.of], panel, row, name)
            by_epoch = list(zip(*lists))
            places = range(1, len(by_epoch) + 1)
            ax.plot(
                places,
                [sum(values) / len(values) for values in by_epoch],
                label=title,
                markevery=max(1, len(by_epoch) // 8),
                **kernel_style(row),
            )
            ax.fill_between(
                places,
                [min(v) for v in by_epoch],
                [max(v) for v in by_epoch],
                color=look(row).colour,
                alpha=0.15,
                linewidth=0,
            )
        ax.set(xlabel="epoch", ylabel=TITLES.get(name, name), title=panel.title)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    legend(figure, axes)
    return figure
