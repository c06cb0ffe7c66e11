"""The figures of the thesis, thesis/figures.toml: what kind each is, of which records, rows and metrics."""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from checks import require

from ..lab.reporting.style import kernel_of
from ..lab.results.metrics import THESIS

FIGURES = THESIS / "figures.toml"
Table = TypeVar("Table")


class Shown(NamedTuple):
    """A row of a panel: of which record, at which level, and what it is called."""

    of: str
    row: str
    level: str
    name: str

    @property
    def drawn(self) -> str:
        """Return what colour and marker go by: its name where that has a kernel, else its row."""
        return self.name if kernel_of(self.name) else self.row


@dataclass(frozen=True)
class Panel:
    """A pair of axes.

    Args:
        of: the experiment of runs.toml whose record it shows.
        rows: of the record, or `EXPERIMENT: ROW` of another one.
        title: above the axes.
        level: of the rows, where a kind shows one level.
        levels: of each row, where they differ.
        names: what rows are called, where not as in the record.
    """

    of: str
    rows: tuple[str, ...]
    title: str = ""
    level: str = "1"
    levels: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def shown(self) -> list[Shown]:
        """Return every row."""
        parts = [row.rpartition(": ") for row in self.rows]
        levels, names = self.levels or [self.level] * len(parts), self.names or [row for _, _, row in parts]
        return [Shown(of or self.of, row, level, name) for (of, _, row), level, name in zip(parts, levels, names)]


@dataclass(frozen=True)
class Wanted:
    """A figure.

    Args:
        name: of its table, and of its files.
        kind: a name of draw.KINDS.
        alt: what it shows, in a sentence, for those who do not see it.
        panels: one or more.
        x: metrics, or names of series, of the horizontal axis, as the kind says.
        y: of the vertical axis.
        zoom: the least y that is shown, where less tells nothing.
    """

    name: str
    kind: str
    alt: str
    panels: tuple[Panel, ...]
    x: tuple[str, ...] = ()
    y: tuple[str, ...] = ()
    zoom: float | None = None

    @property
    def of(self) -> list[str]:
        """Return the experiments whose records it needs."""
        return list(dict.fromkeys(shown.of for panel in self.panels for shown in panel.shown))


def figures(path: Path = FIGURES) -> dict[str, Wanted]:
    """Return name -> figure, in the order of the file; ValueError names the figure and the key that is wrong."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"figures must be a TOML file that can be read, got {path} ({error})") from None
    return {name: _figure(f"{path.name}: {name}", name, table) for name, table in tables.items()}


def _figure(where: str, name: str, table: Any) -> Wanted:
    read = _read(Wanted, where, table | {"name": name})
    panels = tuple(_read(Panel, f"{where}.panels", panel) for panel in read.panels)
    require(bool(panels), f"{where}.panels", panels, "one or more")
    for panel in panels:
        for key, given in {"names": panel.names, "levels": panel.levels}.items():
            each = f"one for each of the rows {', '.join(panel.rows)}"
            require(len(given) in (0, len(panel.rows)), f"{where}.panels.{key}", given, each)
    return Wanted(**{**vars(read), "panels": panels})


def _read(kind: type[Table], where: str, table: Any) -> Table:
    require(isinstance(table, dict), where, table, "a table")
    options = {option.name: option for option in fields(kind)}  # type: ignore[arg-type]  # the two dataclasses above
    for key in table:
        near = difflib.get_close_matches(key, options, 1, 0.0)[0]
        require(key in options, where, key, f"{near!r}, or another of {', '.join(options)}")
    for key, option in options.items():
        require(key in table or option.default is not MISSING, f"{where}.{key}", None, "given")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in table.items()})


def chosen(names: Iterable[str], known: Mapping[str, Wanted]) -> list[Wanted]:
    """Return the figures of these names, or of the experiments of these names; ValueError names the nearest one."""
    found: dict[str, Wanted] = {}
    for name in names:
        mine = [figure for figure in known.values() if name in (figure.name, *figure.of)]
        every = dict.fromkeys([*known, *(of for figure in known.values() for of in figure.of)])
        near = difflib.get_close_matches(name, every, 1, 0.0)
        require(bool(mine), "figure", name, f"{near[0] if near else 'none'!r}, or another of {', '.join(every)}")
        found |= {figure.name: figure for figure in mine}
    return list(found.values())
