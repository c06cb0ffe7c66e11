"""What became of each epoch, as the run folder has it: `history.json`, which `epochs` writes."""

from pathlib import Path
from typing import Any

from checks import require

from .record import read_beside

FILE = "history.json"


def read(folder: Path) -> list[dict[str, Any]]:
    """Return a row per network and epoch, in the order in which they were trained; none before the first is over."""
    rows = read_beside(folder / FILE, list)
    ours = all(isinstance(row, dict) and {"network", "epoch", "seconds"} <= set(row) for row in rows)
    require(ours, FILE, str(folder / FILE), "what experiments.run wrote: repeat the run with --force")
    return rows


def seconds(folder: Path, network: str) -> float:
    """Add up the seconds of all epochs of a network."""
    return sum(row["seconds"] for row in read(folder) if row["network"] == network)
