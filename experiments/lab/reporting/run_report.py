"""A run's results as a terminal table, CSV and one self-contained HTML page."""

import html
import json
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from layers.network import write_text

from .page import page
from .style import COLOURS, short, wilson

COSTS = {"params": "parameters", "macs": "MACs", "bytes": "bytes"}


def costs(results: dict) -> dict[str, str]:
    """Key of a row -> its heading; where a network is pruned or quantised, compressed bytes instead of plain ones."""
    if "deflated" in results["rows"][0]:
        return {"params": "parameters", "macs": "MACs", "deflated": "bytes, zlib"}
    return COSTS


def cells(results: dict) -> tuple[list[str], list[list[str]]]:
    """Header and one row per network: top-1, parameters, MACs, bytes, latency, each with its share of dense."""
    rows, dense = results["rows"], results["rows"][0]
    table, timed = [], f"latency_{results['latency_batches'][-1]}"
    for row in rows:
        numbers = [f"{short(row[c])} {row[c] / dense[c]:4.0%}" for c in costs(results)]
        latency = f"{1e3 * row[timed]:.3g} ms {row[timed] / dense[timed]:.2f}x"
        table.append([row["network"], f"{row['top1']:.2f}", *numbers, latency])
    return ["network", "top-1", *costs(results).values(), "latency"], table


def caption(results: dict) -> str:
    """How the numbers of the table were measured."""
    device = results["environment"]["gpu"] or "CPU"
    anew = results["config"].get("reestimate_batchnorm", False)  # runs of before it existed lack it
    return (
        f"one run, seed {results['config']['seed']}; "
        + "BatchNorm statistics of compressed networks measured anew on training images; " * anew
        + f"latency: median forward pass of {results['latency_batches'][-1]} "
        f"images, networks in turn, {results['environment']['threads']} threads, {device}"
    )


def terminal_table(results: dict) -> Table:
    """The table for a terminal of 80 columns."""
    title = f"{results['config']['model']} on {results['config']['dataset']}, {results['test_images']:,} test images"
    table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, caption=caption(results), caption_justify="left")
    header, rows = cells(results)
    for name in header:
        network = name == "network"  # it alone may take several lines: no number is cut
        table.add_column(name, justify="left" if network else "right", no_wrap=not network, overflow="fold")
    for name, *numbers in rows:
        table.add_row(name.replace("-", " "), *numbers)
    return table


def figure(results: dict) -> go.Figure:
    """Accuracy against each cost, as fractions of the dense network."""
    rows, dense = results["rows"], results["rows"][0]
    fig = make_subplots(1, 3, shared_yaxes=True, horizontal_spacing=0.03)
    colours = COLOURS
    for column, (key, label) in enumerate(costs(results).items(), 1):
        for row, colour in zip(rows, colours * len(rows)):
            low, high = wilson(row["top1"], results["test_images"])
            point = go.Scatter(
                x=[row[key] / dense[key]],
                y=[row["top1"]],
                error_y={"array": [high - row["top1"]], "arrayminus": [row["top1"] - low], "width": 5, "thickness": 1},
                name=row["network"],
                mode="markers",
                marker={"size": 13, "color": colour, "symbol": "diamond" if row is dense else "circle"},
                hovertemplate=f"{row['network']}<br>%{{y:.2f}} % top-1<br>{row[key]:,} {label}<extra></extra>",
                legendgroup=row["network"],
                showlegend=column == 1,
            )
            fig.add_trace(point, 1, column)
        fig.update_xaxes(title_text=f"{label} kept", tickformat=".0%", range=[0, 1.08], row=1, col=column)
    fig.update_yaxes(title_text="top-1 accuracy on the test images, %", row=1, col=1)
    fig.update_layout(template="simple_white", height=420, margin={"t": 20, "r": 20}, font={"size": 14})
    return fig


BODY = """<p>{summary}</p>
{figure}
{table}
<h2>What became of each layer</h2>
{plans}
<h2>Configuration and environment</h2>
<pre>{record}</pre>
"""


def frame(results: dict) -> pd.DataFrame:
    """The rows, with every cost and the latency also as a ratio to the dense network."""
    table = pd.DataFrame(results["rows"])
    timed = [f"latency_{batch}" for batch in results["latency_batches"]]
    for key in (*{**COSTS, **costs(results)}, *timed, "peak_memory", "training_seconds"):
        table[f"{key} / dense"] = table[key] / table[key].iloc[0]
    return table


def write(results: dict, plans: dict[str, str], folder: Path) -> None:
    """results.csv and report.html."""
    write_text(folder / "results.csv", frame(results).to_csv(index=False))
    header, rows = cells(results)
    title = f"{results['config']['model']} on {results['config']['dataset']}: accuracy against cost"
    body = BODY.format(
        summary=html.escape(
            f"{results['test_images']:,} test images; bars: 95 % Wilson intervals; {caption(results)}."
        ),
        figure=figure(results).to_html(full_html=False, include_plotlyjs="inline"),
        table=pd.DataFrame(rows, columns=header).to_html(index=False, border=0),
        plans="".join(f"<h3>{html.escape(k)}</h3><pre>{html.escape(plan)}</pre>" for k, plan in plans.items()),
        record=html.escape(json.dumps({key: results[key] for key in ("config", "environment")}, indent=1)),
    )
    write_text(folder / "report.html", page(title, body))


def show(results: dict, folder: Path) -> None:
    """Print the table and where everything lies."""
    console = Console()
    console.print(terminal_table(results))
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True, highlight=False)
