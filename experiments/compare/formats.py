"""The files that a comparison is written to, by their ending."""

from pathlib import Path

from layers.network import write_text

from ..lab.reporting.comparison import Comparison
from ..lab.reporting.formats import to_csv, to_latex, to_markdown
from ..lab.reporting.page import render
from ..lab.reporting.run_report import comparison_page
from ..lab.reporting.units import counted


def to_html(comparison: Comparison) -> str:
    """Return the page of a comparison: the verdict, the figures, the table, and how it is made again."""
    return render(comparison_page(comparison, f"{counted(len(comparison.runs), 'run')} compared"))


FORMATS = {".csv": to_csv, ".md": to_markdown, ".tex": to_latex, ".html": to_html}


def write(comparison: Comparison, path: Path) -> None:
    """Write the comparison in the format of the path's suffix, whole or not at all."""
    write_text(path, FORMATS[path.suffix](comparison))
