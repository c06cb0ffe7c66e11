"""What the layers of a network got: ranks as box plots, shares of their weights or costs as bars."""

import ast
from collections.abc import Mapping

from matplotlib.figure import Figure

from checks import require

from ..lab.reporting.canvas import canvas
from ..lab.reporting.style import bar_style, look
from ..lab.results.result import Result
from .costs import WIDTH, legend
from .epochs import series
from .manifest import Wanted


def ranks(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw the ranks of all layers that have some as a box for each row: quartiles, whiskers to the ends."""
    figure, axes = canvas(len(wanted.panels), (WIDTH, 2.6), share_y=True)
    for ax, panel in zip(axes, wanted.panels):
        found = []
        for row, _ in panel.named():
            specs = series(records[panel.of], panel, row, "spec")
            found.append([rank for seed in specs for spec in seed for rank in _ranks(str(spec))])
            require(
                bool(found[-1]), f"{panel.of}.json: series.{row}.{panel.level}.spec", [], "ranks of a layer or more"
            )
        boxes = ax.boxplot(found, whis=(0, 100), patch_artist=True, medianprops={"color": "black"}, widths=0.6)
        for box, row in zip(boxes["boxes"], panel.rows):
            box.set(facecolor=look(row).colour, alpha=0.75)
        ax.set_xticks(range(1, len(found) + 1), [name for _, name in panel.named()])
        ax.set(yscale="log", title=panel.title)
        ax.set_yscale("log", base=2)
        ax.yaxis.set_major_formatter("{x:.0f}")
    axes[0].set_ylabel("ranks of the layers")
    return figure


def _ranks(spec: str) -> list[int]:
    """Return the ranks in the text of a layer's spec.

    >>> _ranks("{'rank': 3}"), _ranks("{'ranks': (4, 2)}"), _ranks("")
    ([3], [4, 2], [])
    """
    read = ast.literal_eval(spec) if spec else {}
    one, several = read.get("rank"), read.get("ranks", ())
    values = list(several.values()) if isinstance(several, dict) else list(several)
    return ([one] if isinstance(one, int) else []) + [value for value in values if isinstance(value, int)]


def shares(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw the first series of y over the second, if there is one, of each layer: bars of the rows side by side."""
    figure, axes = canvas(1, (WIDTH, 2.4 * len(wanted.panels)), rows=len(wanted.panels))
    for ax, panel in zip(axes, wanted.panels):
        record = records[panel.of]
        names = [str(name) for name in series(record, panel, panel.rows[0], "layer")[0]]
        width = 0.8 / len(panel.rows)
        for number, (row, title) in enumerate(panel.named()):
            heights = _mean(series(record, panel, row, wanted.y[0]))
            if len(wanted.y) > 1:
                heights = [part / whole for part, whole in zip(heights, _mean(series(record, panel, row, wanted.y[1])))]
            places = [place + width * (number - (len(panel.rows) - 1) / 2) for place in range(len(names))]
            ax.bar(places, heights, width, label=title, **bar_style(row))
        ax.set_xticks(range(len(names)), names, rotation=90 if len(names) > 6 else 0, fontsize=6.5)
        ax.set(ylabel=wanted.x[0], title=panel.title)
        ax.grid(axis="x", visible=False)
    legend(figure, axes)
    return figure


def _mean(lists: list[list[float]]) -> list[float]:
    return [sum(values) / len(values) for values in zip(*lists)]
