"""What became of each epoch, as the run folder has it: `history.json`, which `epochs` writes."""

import json
from pathlib import Path
from typing import Any

FILE = "history.json"


def read(folder: Path) -> list[dict[str, Any]]:
    """Return a row per network and epoch, in the order in which they were trained; none before the first is over."""
    path = folder / FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def seconds(folder: Path, network: str) -> float:
    """Add up the seconds of all epochs of a network."""
    return sum(row["seconds"] for row in read(folder) if row["network"] == network)
