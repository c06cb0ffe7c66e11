"""`python -m experiments.list`: the runs in a folder, complete or not."""

import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from checks import require

from .lab.command import door


@dataclass(frozen=True)
class List:
    """Every run of the folder: its state, its accuracy before and after compression, when it was last written to."""

    runs: Path = Path("runs")
    """folder of the run folders"""


def line(folder: Path) -> tuple[str, ...]:
    """Name, state, top-1 of the dense network and the range of the compressed ones, time of the last change."""
    from .lab.runs import history, record

    changed = max(path.stat().st_mtime for path in folder.iterdir())
    when = datetime.fromtimestamp(changed).strftime("%Y-%m-%d %H:%M")
    try:
        rows = record.read_results(folder)["rows"]
    except ValueError as error:
        if (folder / record.COMPLETE).is_file():
            return folder.name, f"unreadable: {error}", "", "", when
        epochs = [f"{row['network']} {row['epoch'] + 1}" for row in history.read(folder)[-1:]]
        return folder.name, f"unfinished{', epoch of ' if epochs else ''}{''.join(epochs)}", "", "", when
    others = sorted(row["top1"] for row in rows[1:])
    spread = f"{others[0]:.2f} to {others[-1]:.2f}" if others else ""
    return folder.name, f"complete, {len(rows)} networks", f"{rows[0]['top1']:.2f}", spread, when


def act(options: List) -> None:
    """Print the table."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    from .lab.runs import record

    require(options.runs.is_dir(), "runs", str(options.runs), "a folder of run folders: pass --runs")
    folders = sorted(path.parent for path in options.runs.glob(f"*/{record.CONFIG}"))
    lines = [line(folder) for folder in folders]
    table = Table(box=SIMPLE_HEAD, caption=f"{len(lines)} runs in {options.runs}", caption_justify="left")
    for name in ("run", "state", "dense top-1", "compressed", "last change"):
        table.add_column(name, justify="right" if name in ("dense top-1", "compressed") else "left", overflow="fold")
    for words in lines:
        table.add_row(*words)
    Console().print(table)


main = door("list", List, act)

if __name__ == "__main__":
    sys.exit(main())
