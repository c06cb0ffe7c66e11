"""Tables of results in Markdown, and the places in README.md and docs/ where they stand.

A table, and the line that says how it was made, stand between two comments, `<!-- results ENTRY METRIC title='..'
rows='ROW: words; ..' levels='0.25 0.5' -->` and `<!-- end of results -->`; a row may be a peer of reporting/peers.py.
With `columns='top1 -top1 /bytes'` instead of a metric and levels, rows are `ROW LEVEL: words`, and columns metrics:
as it is, less the dense network's (-), or as a share of the dense network's (/).
"""

import re
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from checks import require

from ..reporting.peers import PEERS
from ..reporting.provenance import provenance
from ..reporting.tables import Table, markdown
from .metrics import THESIS, metrics
from .result import Number, Result, path_of, read

ROOT = THESIS.parent
PLACE = re.compile(r"(<!-- results (.*?) -->)\n(.*?)(<!-- end of results -->)", re.DOTALL)
UNMARKED = re.compile(r"^\|[ :|-]*---[ :|-]*\|$", re.MULTILINE)


class Wanted(NamedTuple):
    """What a place asks for: rows with words for readers, and levels of one metric, or several metrics of an entry."""

    entry: str
    metric: str
    title: str
    rows: Mapping[str, str]
    levels: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    @classmethod
    def parse(cls, words: str) -> "Wanted":
        """Read the words of a place; ValueError for what is none.

        >>> Wanted.parse("toy top1 title='top-1 at MACs kept' rows='cp: CP alone' levels='0.25 0.5'").rows
        {'cp': 'CP alone'}
        """
        entry, *options = shlex.split(words)
        metric = options.pop(0) if options and "=" not in options[0] else ""
        given = dict(option.split("=", 1) for option in options)
        last = "levels" if metric else "columns"
        asked = ("title", "rows", last)
        require(tuple(given) == asked, f"place of results {entry}", sorted(given), f"with {', '.join(asked)}")
        unknown = [
            name for name in (metric, *given.get("columns", "").split()) if name.lstrip("-/") not in {"", *metrics()}
        ]
        require(not unknown, f"place of results {entry}", unknown[:1], f"of metrics, which are {', '.join(metrics())}")
        rows = dict(row.strip().split(": ", 1) for row in given["rows"].split(";"))
        return cls(entry, metric, given["title"], rows, **{last: tuple(given[last].split())})


def table(result: Result, wanted: Wanted) -> Table:
    """Return a line for each row and a column for each level or metric; ValueError names a row that is not there."""
    lines = []
    if wanted.columns:
        for at, words in wanted.rows.items():
            row, level = at.split()
            lines.append([words, *(_cell(result, row, level, column) for column in wanted.columns)])
        return Table([wanted.title, *map(_heading, wanted.columns)], lines)
    for row, words in wanted.rows.items():
        peer = _peer(result, row) if row not in result.numbers else None
        if peer is not None:
            lines.append(
                [words, *(f"{peer[float(level)]:.1f}" if float(level) in peer else "" for level in wanted.levels)]
            )
            continue
        lines.append([words, *(_cell(result, row, level, wanted.metric) for level in wanted.levels)])
    return Table([wanted.title, *map(_share, wanted.levels)], lines)


def _heading(column: str) -> str:
    metric = metrics()[column.lstrip("-/")]
    return {"-": f"{metric.title} less dense's", "/": f"{metric.title}, % of dense's"}.get(column[0], metric.heading)


def _cell(result: Result, row: str, level: str, column: str) -> str:
    """Write mean and spread over seeds of a number, or of what it is to the dense network's of the same seed.

    Nothing where a network that is there has no such number, as times of a busy machine.
    """
    name = column.lstrip("-/")
    needed = [(row, level)] if column == name else [(row, level), ("dense", "1")]
    if any(name not in result.numbers.get(at, {}).get(of, {name: None}) for at, of in needed):
        return ""
    own, metric = result.number(row, level, name), metrics()[name]
    if column == name:
        return metric.words(own.mean, own.std)
    pairs = list(zip(own.values, result.number("dense", "1", name).values, strict=True))
    if column[0] == "-":
        less = Number.of([value - dense for value, dense in pairs])
        return metric.words(less.mean, less.std)
    share = Number.of([100 * value / dense for value, dense in pairs])
    return metric._replace(decimals=1).words(share.mean, share.std)


def _peer(result: Result, name: str) -> dict[float, float] | None:
    """Return what this project measured of a peer on the network of a result: share of the MACs -> top-1."""
    model = re.search(r"--model (\S+)", result.command[0])
    own = [p for p in PEERS if p.measured and p.name == name and model is not None and p.model == model.group(1)]
    return own[0].top1 if own and own[0].metric == "macs" else None


def made(result: Result) -> str:
    """Return the line below a table: the command that makes it again, and where it was made."""
    spread = "mean ± standard deviation over " if len(result.seeds) > 1 else ""
    seeds = f"{spread}seed{'s' * (len(result.seeds) > 1)} {', '.join(map(str, result.seeds))}"
    environment = {"gpu": result.device, "threads": result.threads, "commit": result.commit, **result.versions}
    return provenance(f"python -m experiments.reproduce {result.name}", environment, seeds)


def _share(level: str) -> str:
    return f"{100 * float(level):g} %" if level.replace(".", "", 1).isdigit() else level


def pages() -> list[Path]:
    """Return the pages that may hold tables of results."""
    return [ROOT / "README.md", *sorted((ROOT / "docs" / "results").glob("*.md"))]


def filled(text: str) -> str:
    """Return a page with every table whose results are there written anew."""

    def anew(place: re.Match[str]) -> str:
        wanted = Wanted.parse(place.group(2))
        if not path_of(wanted.entry).is_file():
            return place.group(0)
        result = read(wanted.entry)
        return f"{place.group(1)}\n\n{markdown(table(result, wanted))}\n{made(result)}\n\n{place.group(4)}"

    return PLACE.sub(anew, text)


def places(text: str) -> Iterator[Wanted]:
    """Yield what each place of a page asks for."""
    yield from (Wanted.parse(place.group(2)) for place in PLACE.finditer(text))


def unmarked(text: str) -> int:
    """Count the tables of a page that stand in no such place."""
    return len(UNMARKED.findall(PLACE.sub("", text)))
