"""A comparison as CSV, Markdown, LaTeX and a page of HTML."""

import html
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from layers.network import write_text

from ..lab.reporting import run_report as report
from ..lab.reporting.comparison import Comparison, caption, cells, frame
from ..lab.reporting.page import page


def figure(comparison: Comparison) -> go.Figure:
    """Top-1 accuracy against each cost, a line of networks per run."""
    costs = {**report.COSTS, f"latency_{comparison.batches[-1]}": f"latency, batch {comparison.batches[-1]}, s"}
    fig = make_subplots(1, len(costs), shared_yaxes=True, horizontal_spacing=0.02)
    colours = report.COLOURS[1:]
    for number, (label, results) in enumerate(comparison.runs.items()):
        for panel, key in enumerate(costs, 1):
            rows = sorted((row for row in results["rows"] if key in row), key=lambda row: row[key])
            trace = go.Scatter(
                x=[row[key] for row in rows],
                y=[row["top1"] for row in rows],
                mode="markers+text",
                textposition="top center",
                textfont={"size": 11},
                cliponaxis=False,
                marker={
                    "size": 12,
                    "color": colours[number % len(colours)],
                    "symbol": ["diamond" if row["network"] == "dense" else "circle" for row in rows],
                },
                name=label,
                text=[row["network"] for row in rows],
                hovertemplate="%{text}<br>%{y:.2f} % top-1<br>%{x}",
                legendgroup=label,
                showlegend=panel == 1,
            )
            fig.add_trace(trace, 1, panel)
    for panel, title in enumerate(costs.values(), 1):
        fig.update_xaxes(title_text=title, rangemode="tozero", tickformat="~s", row=1, col=panel)
    fig.update_yaxes(title_text="top-1 accuracy, %", row=1, col=1)
    legend = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}
    fig.update_layout(template="simple_white", height=460, margin={"r": 30, "t": 60}, font={"size": 13}, legend=legend)
    return fig


def to_csv(comparison: Comparison) -> str:
    """Plain numbers."""
    return frame(comparison).to_csv(index=False)


def to_markdown(comparison: Comparison) -> str:
    """A table of GitHub's Markdown and its caption."""
    header, rows = cells(comparison)
    lines = [header, ["---", "---", *["---:"] * (len(header) - 2)], *rows]
    table = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
    return f"{table}\n\n{caption(comparison)}\n"


# \textmu is part of LaTeX since 2020
LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "µ": r"\textmu{}",
}
LATEX |= {"^": r"\textasciicircum{}", "|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}"}


def to_latex(comparison: Comparison) -> str:
    """A table environment for \\usepackage{booktabs}."""

    def line(words: Sequence[str]) -> str:
        return " & ".join("".join(LATEX.get(c, c) for c in word) for word in words) + r" \\"

    header, rows = cells(comparison)
    body = "\n".join(map(line, rows))
    note = "".join(LATEX.get(c, c) for c in caption(comparison))
    return "\n".join(
        (
            r"\begin{table}",
            r"\centering\small",
            rf"\begin{{tabular}}{{ll{'r' * (len(header) - 2)}}}",
            r"\toprule",
            line(header),
            r"\midrule",
            body,
            r"\bottomrule",
            r"\end{tabular}",
            rf"\caption{{{note}}}",
            r"\end{table}",
            "",
        )
    )


def to_html(comparison: Comparison) -> str:
    """One self-contained page: the figure, the table, how it was measured."""
    header, rows = cells(comparison, "\n")
    table = pd.DataFrame(rows, columns=header).to_html(index=False, border=0).replace("\\n", "<br>")
    plot = figure(comparison).to_html(full_html=False, include_plotlyjs="inline")
    return page("Runs compared", f"{plot}\n{table}\n<p>{html.escape(caption(comparison))}.</p>", width=90)


FORMATS = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex, ".html": to_html}


def write(comparison: Comparison, path: Path) -> None:
    """In the format of the path's suffix, whole or not at all."""
    write_text(path, FORMATS[path.suffix](comparison))
