"""What the layers of a network got: ranks as box plots, shares of their weights or costs as bars."""

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from checks import require

from ..lab.reporting.canvas import canvas
from ..lab.reporting.style import bar_styles, look
from ..lab.results.result import Result
from .costs import WIDTH, legend
from .epochs import series
from .manifest import Wanted


def ranks(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw the ranks of all layers that have some as a box for each row: quartiles, whiskers to the ends."""
    figure, axes = canvas(len(wanted.panels), (WIDTH, 2.6), share_y=True)
    for ax, panel in zip(axes, wanted.panels):
        found = []
        for shown in panel.shown:
            found.append([rank for seed in series(records, shown, "spec") for spec in seed for rank in ranks_of(spec)])
            where = f"{shown.of}.json: series.{shown.row}.{shown.level}.spec"
            require(bool(found[-1]), where, [], "ranks of a layer or more")
        boxes = ax.boxplot(found, whis=(0, 100), patch_artist=True, medianprops={"color": "black"}, widths=0.6)
        for box, shown in zip(boxes["boxes"], panel.shown):
            box.set(facecolor=look(shown.drawn).colour, alpha=0.75)
        ax.set_xticks(range(1, len(found) + 1), [shown.name for shown in panel.shown])
        ax.set(yscale="log", title=panel.title)
        ax.set_yscale("log", base=2)
        ax.yaxis.set_major_formatter("{x:.0f}")
    axes[0].set_ylabel("ranks of the layers")
    return figure


def ranks_of(spec: Mapping[str, Any]) -> list[int]:
    """Return the ranks of a layer's spec.

    >>> ranks_of({"rank": 3}), ranks_of({"ranks": [4, 2]}), ranks_of({})
    ([3], [4, 2], [])
    """
    several = spec.get("ranks", ())
    values = [spec.get("rank"), *(several.values() if isinstance(several, Mapping) else several)]
    return [value for value in values if isinstance(value, int)]


def shares(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw the first series of y, over the second if there is one, of each layer: bars of the rows side by side.

    x: what these are, in words.
    """
    figure, axes = canvas(1, (WIDTH, 2.4 * len(wanted.panels)), rows=len(wanted.panels))
    for ax, panel in zip(axes, wanted.panels):
        names = [str(name) for name in series(records, panel.shown[0], "layer")[0]]
        width = 0.8 / len(panel.rows)
        styles = bar_styles([shown.drawn for shown in panel.shown])
        for number, (shown, style) in enumerate(zip(panel.shown, styles)):
            parts = [_mean(series(records, shown, name)) for name in wanted.y]
            heights = parts[0] if len(parts) == 1 else [part / whole for part, whole in zip(*parts)]
            where = f"{shown.of}.json: series.{shown.row}.{shown.level}"
            require(len(heights) == len(names) > 0, where, heights, f"a number for each of the layers {names}")
            places = [place + width * (number - (len(panel.rows) - 1) / 2) for place in range(len(names))]
            ax.bar(places, heights, width, label=shown.name, **style)
        ax.set_xticks(range(len(names)), names, rotation=90 if len(names) > 6 else 0, fontsize=6.5)
        ax.set(ylabel=wanted.x[0], title=panel.title)
        ax.yaxis.set_major_formatter(PercentFormatter(1, 0))
        ax.grid(axis="x", visible=False)
    legend(figure, axes)
    return figure


def _mean(lists: list[list[float]]) -> list[float]:
    return [sum(values) / len(values) for values in zip(*lists)]
