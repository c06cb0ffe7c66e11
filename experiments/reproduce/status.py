"""What of the thesis is missing, stale or of another commit: its results, and the claims of its text."""

from collections.abc import Mapping

from ..lab.reporting.tables import Table
from ..lab.results.manifest import Entry
from ..lab.results.result import RESULTS, Result, path_of, read
from ..lab.runs import record


def why_stale(entry: Entry, result: Result) -> str:
    """Say in what an entry's command is another now than when its result was made; "" where in nothing."""
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


def table(entries: Mapping[str, Entry]) -> Table:
    """Return a line for each experiment, and one for each file of results that no experiment has."""
    commit = str(record.commit())
    lines = [[name, *state(entry, commit)] for name, entry in entries.items()]
    foreign = [path.stem for path in sorted(RESULTS.glob("*.json")) if path.stem not in entries]
    lines += [[name, "foreign", f"{RESULTS.name}/{name}.json is of no entry of the manifest"] for name in foreign]
    return Table(["experiment", "result", "of"], lines, 3)
