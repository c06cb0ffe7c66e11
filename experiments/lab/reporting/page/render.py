"""From blocks to one HTML file by jinja2; tables by pandas, made sortable by DataTables; figures by plotly."""

import base64
import gzip
import html
import json
import re
from functools import cache
from importlib.resources import files
from itertools import count
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from ..style import look
from .blocks import Grid, Page, Plot
from .theme import dressed

TEMPLATES = files(__package__) / "templates"
BUNDLE = files("itables") / "html"  # DataTables 2 with its style, which itables ships for pages without a network
SHAPES = {  # of plotly's markers, in a box from -1 to 1
    "circle": "M-1,0a1,1 0 1,0 2,0a1,1 0 1,0 -2,0",
    "square": "M-.85,-.85h1.7v1.7h-1.7z",
    "diamond": "M0,-1L1,0L0,1L-1,0z",
    "triangle-up": "M0,-1L1,.8H-1z",
    "triangle-down": "M0,1L1,-.8H-1z",
    "triangle-left": "M-1,0L.8,-1V1z",
    "triangle-right": "M1,0L-.8,-1V1z",
    "cross": "M-.35,-1h.7v.65h.65v.7h-.65v.65h-.7v-.65h-.65v-.7h.65z",
    "x": "M-1,-.5L-.5,-1L0,-.5L.5,-1L1,-.5L.5,0L1,.5L.5,1L0,.5L-.5,1L-1,.5L-.5,0z",
    "star": "M0,-1L.26,-.31L1,-.31L.42,.14L.62,.85L0,.45L-.62,.85L-.42,.14L-1,-.31L-.26,-.31z",
    "pentagon": "M0,-1L.95,-.31L.59,.81H-.59L-.95,-.31z",
    "hexagon": "M.87,-.5V.5L0,1L-.87,.5V-.5L0,-1z",
    "hexagram": "M0,-1L.3,-.5H.87L.58,0L.87,.5H.3L0,1L-.3,.5H-.87L-.58,0L-.87,-.5H-.3z",
    "diamond-tall": "M0,-1L.6,0L0,1L-.6,0z",
    "diamond-wide": "M0,-.6L1,0L0,.6L-1,0z",
}


def swatch(name: str) -> Markup:
    """Return the network's marker in its colour, as a picture that a screen reader leaves out."""
    colour, _, symbol = look(name)
    path = f'<path fill="{colour}" d="{SHAPES[symbol]}"/>'
    return Markup(f'<svg class="swatch" viewBox="-1.1 -1.1 2.2 2.2" aria-hidden="true">{path}</svg>')


def table_html(grid: Grid, name: str) -> Markup:
    """Return the table as pandas writes it, with the scope of its headers."""
    header, rows, left, _ = grid.table
    lines = [[_cell(cell, grid.names == column) for column, cell in enumerate(row)] for row in rows]
    frame = pd.DataFrame(lines, columns=[_head(head) for head in header])
    text = frame.to_html(index=False, border=0, escape=False, classes="grid", table_id=name, justify="unset")
    text = re.sub(r"(<tr>\s*)<td>(.*?)</td>", r'\1<th scope="row">\2</th>', text)
    text = text.replace("<th>", '<th scope="col">').replace("<table ", f'<table data-left="{left}" ', 1)
    caption = f"<caption>{html.escape(grid.caption)}</caption>"
    return Markup(text.replace("<thead>", f"{caption}<thead>", 1))


def _head(words: str) -> str:
    title, comma, unit = html.escape(words).partition(", ")
    return f"{title}{comma}<br><small>{unit}</small>" if comma and len(unit) < 6 else title + comma + unit


def _cell(words: str, marked: bool) -> str:
    first, *rest = (html.escape(line) for line in str(words).split("\n"))
    below = "".join(f"<br><small>{line}</small>" for line in rest)
    return f"{swatch(words) if marked else ''}{first}{below}"


def as_json(data: Any) -> Markup:
    """Return JSON that can stand in a script element."""
    return Markup(json.dumps(data).replace("</", "<\\/").replace("<!--", "<\\!--"))


def figure_json(plot: Plot) -> Markup:
    """Return the figure, in the page's look, as JSON that can stand in a script element."""
    return Markup(dressed(plot.figure).replace("</", "<\\/").replace("<!--", "<\\!--"))


@cache
def libraries() -> dict[str, str]:
    """Return plotly.js and DataTables as base64 of gzip, which page.js unpacks: 2 MB in place of 5.5."""
    texts = {"plotly": get_plotlyjs(), "datatables": (BUNDLE / "dt_bundle.js").read_text(encoding="utf-8")}
    return {k: base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode() for k, text in texts.items()}


def render(page: Page) -> str:
    """Return the page as the text of one HTML file."""
    environment = Environment(
        loader=FileSystemLoader(str(TEMPLATES)),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    numbers = count(1)
    environment.globals |= {
        "fresh": lambda kind: f"{kind}-{next(numbers)}",
        "kind_of": lambda block: type(block).__name__.lower(),
        "swatch": swatch,
        "table_html": table_html,
        "figure_json": figure_json,
        "as_json": as_json,
    }
    inline = {
        **libraries(),
        "datatables_css": (BUNDLE / "dt_bundle.css").read_text(encoding="utf-8"),
        "css": (TEMPLATES / "page.css").read_text(encoding="utf-8"),
        "js": (TEMPLATES / "page.js").read_text(encoding="utf-8"),
    }
    return environment.get_template("page.html").render(page=page, **{k: Markup(v) for k, v in inline.items()})
