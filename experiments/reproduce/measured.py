"""What one finished run, sweep, search or study measured: each network with its place in a record."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

Key = tuple[str, str]  # row, level


class Measured(NamedTuple):
    """One network of one seed: its numbers by metric, its lists by name, and in full what it is."""

    key: Key
    words: str
    numbers: Mapping[str, float]
    series: Mapping[str, list[Any]]


class Source(NamedTuple):
    """What one finished run or sweep measured, and where."""

    seed: int
    environment: Mapping[str, Any]
    measured: list[Measured]


def read_json(path: Path) -> Any:
    """Read what a verb has written; ValueError names a file that is torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} must be as its verb wrote it, got {error}") from None
