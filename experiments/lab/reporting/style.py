"""What all figures share: one colour and one marker for each kernel, intervals of accuracies."""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

COLOURS = ["#222222", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]  # Wong 2011; the first: dense
MARKERS = "osD^vPX"
GREY = "#777777"  # what is there to compare with


class Look(NamedTuple):
    """How a network is drawn: its colour, and its marker as matplotlib and as plotly call it."""

    colour: str
    marker: str
    symbol: str


# Wong 2011, which the colour-blind can tell apart, then Tol 2021; each is seen on white and on near-black.
LOOKS = {
    "dense": Look("#7A808C", "D", "diamond"),
    "auto": Look("#B5173A", "*", "star"),
    "svd": Look("#0072B2", "o", "circle"),
    "spatial": Look("#D55E00", "s", "square"),
    "tucker": Look("#009E73", "^", "triangle-up"),
    "ht": Look("#CC79A7", "v", "triangle-down"),
    "cp": Look("#E69F00", "P", "cross"),
    "dct": Look("#56B4E9", "X", "x"),
    "dst": Look("#44AA99", "<", "triangle-left"),
    "dft": Look("#999933", "p", "pentagon"),
    "dht": Look("#AA4499", "h", "hexagon"),
    "dwt": Look("#88AA22", ">", "triangle-right"),
    "shannon": Look("#CC6677", "d", "diamond-tall"),
    "complex_shannon": Look("#996655", "|", "diamond-wide"),
    "search": Look("#B5173A", "*", "star"),  # what chooses among kernels, as auto does
}
DASHES: dict[str, Any] = {  # of a kernel's line, by which it is told in grey as well
    "spatial": (0, (5, 1.5)),
    "tucker": "-.",
    "ht": (0, (1, 1)),
    "cp": (0, (3, 1, 1, 1)),
    "dst": (0, (5, 1.5)),
    "dft": "-.",
    "dht": (0, (1, 1)),
    "dwt": (0, (3, 1, 1, 1)),
    "dense": ":",
}
HATCHES = {
    "svd": "///",
    "spatial": "...",
    "tucker": "\\\\\\",
    "ht": "xxx",
    "cp": "---",
    "dct": "+++",
    "dst": "||",
    "dft": "oo",
}
OTHER = Look("#8C6D46", "H", "hexagram")  # no kernel: channels or weights alone, a plan that was given


def look(network: str) -> Look:
    """Return how a network, or a kernel, is drawn: by the first kernel that its name has.

    >>> look("thin-svd-pruned") == LOOKS["svd"], look("pruned") == OTHER
    (True, True)
    """
    return LOOKS.get(kernel_of(network), OTHER)


def kernel_of(network: str) -> str:
    """Return the first kernel that the name of a network has, or "".

    >>> kernel_of("channels-0.3+svd+finetune"), kernel_of("pruned")
    ('svd', '')
    """
    return next((word for word in re.split(r"[^a-z_]+", network.lower()) if word in LOOKS), "")


def kernel_style(network: str) -> dict[str, Any]:
    """Return colour, marker and dashes of the curve of a kernel, or of a network with one, for matplotlib."""
    colour, marker, _ = look(network)
    return {"color": colour, "marker": marker, "linestyle": DASHES.get(kernel_of(network), "-")}


def bar_style(network: str) -> dict[str, Any]:
    """Return colour and hatching of the bars of a kernel, or of a network with one, for matplotlib."""
    hatch = HATCHES.get(kernel_of(network), "")
    return {"color": look(network).colour, "hatch": hatch, "edgecolor": "white", "linewidth": 0.3}


def bar_styles(networks: Sequence[str]) -> list[dict[str, Any]]:
    """Return how each network's bars are drawn: by its kernel, or where two have the same one, by number."""
    hatches = ["", *HATCHES.values()]
    if len({look(network) for network in networks}) == len(networks):
        return [bar_style(network) for network in networks]
    colours = [line_style(number)["color"] for number in range(len(networks))]
    return [bar_style("") | {"color": colour, "hatch": hatches[n % len(hatches)]} for n, colour in enumerate(colours)]


def line_style(number: int) -> dict[str, Any]:
    """Return the colour and the marker of curve `number`: seven differ in both, and none has the colour of dense."""
    colours = [*COLOURS[1:], COLOURS[0]]
    return {"color": colours[number % 7], "marker": MARKERS[number % 7]}


def styles(networks: Sequence[str]) -> list[dict[str, Any]]:
    """Return how each network's curve is drawn: by its kernel, or where two have the same one, by number."""
    alike = len({look(network) for network in networks}) < len(networks)
    return [line_style(number) if alike else kernel_style(network) for number, network in enumerate(networks)]


def wilson(percent: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of an accuracy measured on n images, in percent (Wilson 1927)."""
    z, p = 1.96, percent / 100
    centre, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return 100 * (centre - half) / (1 + z * z / n), 100 * (centre + half) / (1 + z * z / n)
