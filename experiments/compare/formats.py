"""A comparison as CSV, Markdown, LaTeX and a page of HTML."""

import html
import re
from pathlib import Path

import pandas as pd

from layers.network import write_text

from ..lab.reporting.comparison import Comparison, caption, cells, frame
from ..lab.reporting.page import page
from ..lab.reporting.panels import figure
from ..lab.reporting.provenance import command
from ..lab.reporting.run_report import html_table
from ..lab.reporting.tables import markdown


def commands(comparison: Comparison) -> list[str]:
    """Return the command that makes each run again."""
    return [f"{label}: {command(results['config'])}" for label, results in comparison.runs.items()]


def to_csv(comparison: Comparison) -> str:
    """Return the table of plain numbers."""
    return frame(comparison).to_csv(index=False)


def to_markdown(comparison: Comparison) -> str:
    """Return a table in GitHub's Markdown, its caption, and the commands."""
    made = "".join(f"    {line}\n" for line in commands(comparison))
    return f"{markdown(cells(comparison))}\n{' '.join(caption(comparison))}\n\n{made}"


LATEX = {sign: f"\\{sign}" for sign in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "µ": r"\textmu{}",  # part of LaTeX since 2020
}


def to_latex(comparison: Comparison) -> str:
    """Return a table environment for \\usepackage{booktabs}; a run's name stands once, before its first network."""
    header, rows, words, _ = cells(comparison)
    escape = str.maketrans(LATEX)
    table = pd.DataFrame(rows, columns=[head.translate(escape) for head in header])
    if "run" in header:
        table["run"] = table["run"].mask(table["run"].duplicated(), "")
    text = table.map(lambda cell: cell.translate(escape)).to_latex(
        index=False,
        escape=False,
        column_format="l" * words + "r" * (len(header) - words),
        caption=" ".join(caption(comparison)).translate(escape),
        label="tab:" + re.sub(r"[^a-z0-9]+", "-", "-".join(comparison.runs).lower()),
    )
    return "".join(f"% {line}\n" for line in commands(comparison)) + text


def to_html(comparison: Comparison) -> str:
    """Return one self-contained page: the figure, the table, how it was measured and how it is made again."""
    plot = figure(comparison).to_html(full_html=False, include_plotlyjs="inline")
    note, made = html.escape(" ".join(caption(comparison))), html.escape("\n".join(commands(comparison)))
    body = f"{plot}\n{html_table(comparison)}\n<p>{note}</p>\n<h2>Again</h2>\n<pre>{made}</pre>"
    return page("Runs compared", body, width=90)


FORMATS = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex, ".html": to_html}


def write(comparison: Comparison, path: Path) -> None:
    """Write the comparison in the format of the path's suffix, whole or not at all."""
    write_text(path, FORMATS[path.suffix](comparison))
