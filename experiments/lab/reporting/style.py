"""What all figures share: colours, markers, intervals of accuracies."""

from typing import Any

COLOURS = ["#222222", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]  # Wong 2011; the first: dense
MARKERS = "osD^vPX"
GREY = "#888888"  # what is there to compare with


def line_style(number: int) -> dict[str, Any]:
    """Return the colour and the marker of curve `number`: seven differ in both, and none has the colour of dense."""
    colours = [*COLOURS[1:], COLOURS[0]]
    return {"color": colours[number % 7], "marker": MARKERS[number % 7], "markersize": 5, "linewidth": 1.4}


def wilson(percent: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy measured on n images, in percent (Wilson 1927)."""
    z, p = 1.96, percent / 100
    centre, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return 100 * (centre - half) / (1 + z * z / n), 100 * (centre + half) / (1 + z * z / n)
