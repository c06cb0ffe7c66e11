"""What of the thesis is missing, stale or of another commit: its results, and what stands on them."""

import re
import tomllib
from collections.abc import Iterator, Mapping

from ..lab.reporting.tables import Table
from ..lab.results.manifest import Entry
from ..lab.results.metrics import THESIS, metrics
from ..lab.results.result import RESULTS, Result, path_of, read
from ..lab.results.tables import ROOT, filled, pages, places, unmarked
from ..lab.runs import record

FIGURES = THESIS / "figures.toml"
CLAIM = re.compile(r"\(\s*" + r",\s*".join([r'"([^"\n]+)"'] * 4) + r"[,)]")  # ("resnet20", "auto", "0.5", "top1")


def why_stale(entry: Entry, result: Result) -> str:
    """Say in what an entry is another now than when its result was made; "" where in nothing."""
    pairs = {
        "command": (entry.commands, result.command),
        "seeds": (entry.seeds, result.seeds),
        "threads": (entry.threads, result.threads),
    }
    return ", ".join(f"another {name}" for name, (now, then) in pairs.items() if now != then)


def state(entry: Entry, commit: str) -> tuple[str, str]:
    """Return (missing, unreadable, stale or there; what else is to say of it)."""
    if not path_of(entry.name).is_file():
        return "missing", f"needs {' and '.join(entry.needs)}" if entry.needs else ""
    try:
        result = read(entry.name)
    except ValueError as error:
        return "unreadable", str(error)
    changed = why_stale(entry, result)
    of = f"commit {result.commit}, {result.date}" + (", an earlier one" if result.commit != commit else "")
    return ("stale", f"{changed}; {of}") if changed else ("there", of)


def results(entries: Mapping[str, Entry]) -> Table:
    """Return a line for each experiment, and one for each file of results that no experiment has."""
    commit = str(record.commit())
    lines = [[name, *state(entry, commit)] for name, entry in entries.items()]
    foreign = [path.stem for path in sorted(RESULTS.glob("*.json")) if path.stem not in entries]
    lines += [[name, "foreign", f"{RESULTS.name}/{name}.json is of no entry of the manifest"] for name in foreign]
    return Table(["experiment", "result", "of"], lines, 3)


def standing(entries: Mapping[str, Entry]) -> Table:
    """Return a line for each claim, figure and table whose results are missing, stale or say something else."""
    states = {name: state(entry, "")[0] for name, entry in entries.items()}
    lines = [
        [where, what, states.get(name, "of no entry") if problem is None else problem]
        for where, what, name, problem in (*_claims(), *_figures(), *_pages())
        if problem is not None or states.get(name) != "there"
    ]
    return Table(["where", "what", "its result"], lines, 3)


Standing = tuple[str, str, str, str | None]  # file, what stands there, its entry, what is wrong but for the entry


def _claims() -> Iterator[Standing]:
    for path in sorted((THESIS / "chapters").glob("*.typ")):
        for name, row, level, metric in dict.fromkeys(CLAIM.findall(path.read_text(encoding="utf-8"))):
            if metric not in metrics():
                continue  # four words of another kind
            yield path.name, f"{name} {row} {level} {metric}", name, _lacks(name, row, level, metric)


def _lacks(name: str, row: str, level: str, metric: str) -> str | None:
    """Say what a claim's results lack; None where they are whole, or not there at all."""
    if not path_of(name).is_file():
        return None
    try:
        read(name).number(row, level, metric)
    except ValueError as error:
        return str(error)
    return None


def _figures() -> Iterator[Standing]:
    if FIGURES.is_file():
        for figure, given in tomllib.loads(FIGURES.read_text(encoding="utf-8")).items():
            for name in dict.fromkeys(panel["of"] for panel in given["panels"]):
                yield FIGURES.name, figure, name, None


def _pages() -> Iterator[Standing]:
    for path in pages():
        text, name = path.read_text(encoding="utf-8"), str(path.relative_to(ROOT))
        for wanted in places(text):
            yield name, f"table of {wanted.entry}", wanted.entry, None
        if filled(text) != text:
            yield name, "tables", "", "another: --docs writes it anew"
        if count := unmarked(text):
            yield name, f"{count} table{'s' * (count > 1)}", "", "by its own command"
