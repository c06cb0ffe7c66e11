"""All networks by accuracy, a row each: where costs are alike, points in a plane hide each other and rows do not."""

import plotly.graph_objects as go

from ..comparison import Comparison, ratio
from ..style import GREY, look, wilson
from ..units import percent
from .blocks import Plot
from .layers import short

COSTS = {"macs": "MACs", "params": "parameters"}


def ranking(comparison: Comparison) -> Plot:
    """Return the figure: accuracy with its interval, best above, and beside each name what is kept of MACs."""
    several, figure, said = len(comparison.runs) > 1, go.Figure(), []
    heads: list[str] = []
    rows = sorted(comparison.rows, key=lambda found: -found[1]["top1"])
    for label, row, dense in rows:
        images, style = comparison.runs[label]["test_images"], look(row["network"])
        low, high = wilson(row["top1"], images)
        name = comparison.called(label, row["network"])
        shares = {words: ratio(row, dense, key) for key, words in COSTS.items()}
        kept = ", ".join(f"{percent(share)} of {words}" for words, share in shares.items() if share is not None)
        beside = "" if row is dense or shares["MACs"] is None else f" · {percent(shares['MACs'])} MACs"
        heads.append(f"<b>{short(name)}</b>{beside}")
        figure.add_scatter(
            x=[row["top1"]],
            y=[len(heads)],  # not its name: two long ones may be cut to the same
            mode="markers",
            marker={"size": 14, "color": style.colour, "symbol": style.symbol},
            error_x={
                "array": [high - row["top1"]],
                "arrayminus": [row["top1"] - low],
                "color": style.colour,
                "thickness": 2,
                "width": 0,
            },
            hovertemplate=f"<b>{name}</b><br>{row['top1']:.2f} % top-1, {low:.2f} to {high:.2f}"
            f"<br>{kept}<extra></extra>",
            showlegend=False,
        )
        said.append(f"{name} {row['top1']:.2f} %, {low:.2f} to {high:.2f}, {kept}")
    label, whole, _ = next(iter(comparison.rows))
    if not several or comparison.dense is not None:
        top1 = comparison.dense_row(label)["top1"] if comparison.dense else whole["top1"]
        figure.add_vline(top1, line={"color": GREY, "width": 1.5, "dash": "dot"})
    figure.update_yaxes(
        range=[len(rows) + 0.6, 0.4], tickvals=list(range(1, len(rows) + 1)), ticktext=heads, showgrid=False
    )
    figure.update_xaxes(title_text="top-1, %")
    figure.update_layout(height=34 * len(rows) + 80)
    return Plot(figure, f"Networks by accuracy: {'; '.join(said)}.", "Networks by accuracy")
