"""A run's results, which are a comparison of one run: printed, as CSV, and as one self-contained page of HTML."""

import html
import json
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.text import Text

from layers.network import write_text

from .comparison import Comparison, caption, cells, frame
from .page import page
from .panels import figure
from .provenance import command, differences
from .tables import print_table

BODY = """<p>{summary}</p>
{figure}
{table}
<h2>What became of each layer</h2>
{plans}
<h2>Again</h2>
<pre>{command}</pre>
<details><summary>Configuration and environment</summary><pre>{record}</pre></details>
"""


def html_table(comparison: Comparison) -> str:
    """Return the table of the networks in HTML, two lines a cell."""
    header, rows, *_ = cells(comparison, "\n")
    return pd.DataFrame(rows, columns=header).to_html(index=False, border=0).replace("\\n", "<br>")


def write(results: dict[str, Any], plans: dict[str, str], folder: Path) -> None:
    """Write results.csv and report.html."""
    comparison = Comparison({folder.name: results})
    write_text(folder / "results.csv", frame(comparison).to_csv(index=False))
    title = f"{results['config']['model']} on {results['config']['dataset']}: accuracy against cost"
    body = BODY.format(
        summary=html.escape(f"Bars: 95 % Wilson intervals. {' '.join(caption(comparison))}"),
        figure=figure(comparison).to_html(full_html=False, include_plotlyjs="inline"),
        table=html_table(comparison),
        plans="".join(f"<h3>{html.escape(k)}</h3><pre>{html.escape(plan)}</pre>" for k, plan in plans.items()),
        command=html.escape(command(results["config"])),
        record=html.escape(json.dumps({key: results[key] for key in ("config", "environment")}, indent=1)),
    )
    write_text(folder / "report.html", page(title, body, width=80))


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print a table for each run, headed by its name and the options in which it differs, and the caption."""
    table, several = cells(comparison, "\n"), len(comparison.runs) > 1
    table = table._replace(header=[head.replace(" ", "\n") for head in table.header])
    options = differences([results["config"] for results in comparison.runs.values()])
    for (label, results), given in zip(comparison.runs.items(), options):
        config, images = results["config"], f"{results['test_images']:,} test images"
        title = f"{label}  {given}" if several else f"{config['model']} on {config['dataset']}, {images}"
        rows = [row for row in table.rows if not several or row[0] == label]
        print_table(table._replace(rows=rows).part(range(several, len(table.header))), console, title.rstrip())
        console.print()
    for sentence in caption(comparison):
        console.print(Text(sentence, style="italic"))


def show(results: dict[str, Any], folder: Path) -> None:
    """Print the table of a run and where everything lies."""
    console = Console()
    print_comparison(Comparison({folder.name: results}), console)
    console.print(f"report: {folder / 'report.html'}", soft_wrap=True, markup=False, highlight=False)
