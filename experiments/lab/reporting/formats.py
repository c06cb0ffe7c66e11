"""A comparison as CSV, Markdown and LaTeX."""

import re

import pandas as pd

from .comparison import Comparison, caption, cells, frame
from .provenance import command
from .tables import Table, markdown


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


def latex(table: Table, caption: str | None = None, label: str | None = None) -> str:
    """Return a table environment for \\usepackage{booktabs}."""
    escape = str.maketrans(LATEX)
    rows = [[cell.replace("\n", " ").translate(escape) for cell in row] for row in table.rows]
    return pd.DataFrame(rows, columns=[head.translate(escape) for head in table.header]).to_latex(
        index=False,
        escape=False,
        column_format="l" * table.left + "r" * (len(table.header) - table.left),
        caption=None if caption is None else caption.translate(escape),
        label=label,
    )


def to_latex(comparison: Comparison) -> str:
    """Return a table environment for \\usepackage{booktabs}; a run's name stands once, before its first network."""
    table = cells(comparison)
    if "run" in table.header:
        names = [row[0] for row in table.rows]
        first = [number == names.index(name) for number, name in enumerate(names)]
        table = table._replace(rows=[[row[0] if one else "", *row[1:]] for one, row in zip(first, table.rows)])
    label = "tab:" + re.sub(r"[^a-z0-9]+", "-", "-".join(comparison.runs).lower())
    text = latex(table, " ".join(caption(comparison)), label)
    return "".join(f"% {line}\n" for line in commands(comparison)) + text


def copies(table: Table) -> dict[str, str]:
    """Return a table as CSV, Markdown and LaTeX, for the buttons of a page."""
    plain = [[cell.replace("\n", " ") for cell in row] for row in table.rows]
    csv = pd.DataFrame(plain, columns=list(table.header)).to_csv(index=False)
    return {"CSV": csv, "Markdown": markdown(table), "LaTeX": latex(table)}
