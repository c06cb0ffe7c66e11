"""`python -m experiments.list`: the runs in a folder, complete or not."""

import json
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from checks import require

from .lab.command import door


@dataclass(frozen=True)
class List:
    """List the runs of a folder: state, accuracy before and after compression, when each was last written to."""

    runs: Path = Path("runs")
    """folder of the run folders"""


class Line(NamedTuple):
    """A run as the table shows it."""

    name: str
    state: str
    dense: str  # top-1 in percent
    compressed: str  # from the least to the largest
    changed: str
    reason: str = ""  # why it cannot be read


def line(folder: Path) -> Line:
    """Name, state, top-1 of the dense network and the range of the compressed ones, time of the last change."""
    from .lab.reporting.units import counted
    from .lab.runs import history, record

    latest = max(path.stat().st_mtime for path in folder.iterdir())
    changed = datetime.fromtimestamp(latest).strftime("%Y-%m-%d %H:%M")
    try:
        rows = record.read_results(folder)["rows"]
    except ValueError as error:
        if (folder / record.COMPLETE).is_file():
            return Line(folder.name, "unreadable", "", "", changed, str(error))
        try:
            last = "".join(f", {row['network']} epoch {row['epoch'] + 1}" for row in history.read(folder)[-1:])
        except ValueError as torn:
            return Line(folder.name, "unreadable", "", "", changed, str(torn))
        return Line(folder.name, f"unfinished{last}", "", "", changed)
    others = sorted(row["top1"] for row in rows[1:])
    spread = " to ".join(dict.fromkeys(f"{accuracy:.2f}" for accuracy in others[:1] + others[-1:]))
    return Line(folder.name, f"complete, {counted(len(rows), 'network')}", f"{rows[0]['top1']:.2f}", spread, changed)


def configuration(folder: Path) -> dict[str, Any]:
    """Read the run's config.json; empty where it cannot be read, which the run's state will say."""
    from .lab.runs import record

    try:
        config = json.loads((folder / record.CONFIG).read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return {}
    return config if isinstance(config, dict) else {}


def act(options: List) -> None:
    """Print the table."""
    from rich.console import Console

    from .lab.reporting.provenance import differences
    from .lab.reporting.tables import Table, print_table
    from .lab.reporting.units import counted
    from .lab.runs import record

    require(options.runs.is_dir(), "runs", str(options.runs), "a folder of run folders: pass --runs")
    configs = {path.parent: configuration(path.parent) for path in sorted(options.runs.glob(f"*/{record.CONFIG}"))}
    configs = {folder: config for folder, config in configs.items() if "fractions" not in config}  # a sweep's has them
    lines, given = [line(folder) for folder in configs], differences(list(configs.values()))
    header = ["run, and how it differs", "state", "dense, %", "compressed, %", "last change"]
    rows = [[f"{run.name}\n{own}".rstrip(), *run[1:5]] for run, own in zip(lines, given)]
    print_table(Table(header, rows, len(header)), Console())
    reasons = "".join(f"\n{run.name}: {run.reason}\n" for run in lines if run.reason)
    sys.stdout.write(f"{reasons}\n{counted(len(lines), 'run')} in {options.runs}\n")


main = door("list", List, act)

if __name__ == "__main__":
    sys.exit(main())
