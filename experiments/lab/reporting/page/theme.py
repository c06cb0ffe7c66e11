"""How every figure of a page looks; its text and its lines take the page's colours, dark or light, from page.css."""

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.io.json import to_json_plotly

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
AXIS = {
    "showline": False,
    "ticks": "",
    "zeroline": False,
    "gridwidth": 1,
    "automargin": True,
    "title": {"font": {"size": 13}, "standoff": 8},
}
CLEAR = "rgba(0,0,0,0)"
LOOK = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "xaxis": AXIS,
        "yaxis": AXIS,
        "margin": {"l": 10, "r": 16, "t": 16, "b": 10},
        "height": 320,
        "hovermode": "closest",
        "hoverlabel": {"align": "left", "font": {"family": FONT, "size": 13}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "bgcolor": CLEAR},
        "bargap": 0.35,
        "colorway": ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"],
    }
)


def logarithmic(figure: go.Figure, values: Sequence[float]) -> go.Figure:
    """Make the y axis logarithmic, with a tick a decade where there are two of them, else at 1, 2 and 5."""
    found = [value for value in values if value > 0] or [1.0]
    span = max(found) / min(found)
    ticks: dict[str, Any] = {"dtick": 1} if span >= 100 else {"dtick": "D2"} if span >= 5 else {"nticks": 6}
    return figure.update_yaxes(type="log", exponentformat="power", **ticks)


def dressed(figure: go.Figure) -> str:
    """Return the figure in the page's look as JSON; what it sets itself stays."""
    fields = figure.to_dict()  # a copy, and not one that plotly checks once more: half of the time of a page
    fields["layout"]["template"] = LOOK.to_plotly_json()
    return to_json_plotly(fields)
