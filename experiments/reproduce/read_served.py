"""Read what `bench served` measured: each way of making a network smaller, in each runtime and precision."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from checks import require

from .measured import Measured, Source
from .names import DENSE

CELLS, ASKED = "cells.jsonl", "asked.json"


def of_served(folder: Path) -> Source:
    """Return milliseconds, and how many times as fast as dense beside it, of every cell that the machine left in peace.

    The row is the way, the level the cell, as `openvino-int8`; the dense network's milliseconds are of the first way.
    A line that was torn by a kill counts for nothing, as for the bench, which then measured its cell again.
    """
    path, found, rows = folder / CELLS, list[Measured](), _rows(folder)
    environments = [row.get("environment", {}) for row in rows]
    told = bool(environments) and all(environments)
    require(told, str(path), "a cell without it", "with the environment of each cell")
    same = all(one == environments[0] for one in environments)
    require(same, str(path), "cells of several commits or machines", "measured by one (repeat it in a new folder)")
    for row in rows:
        network, way, runtime, precision = row["cell"]
        level, words = f"{runtime}-{precision}", f"{network}, {runtime} {precision}"
        small, dense = (row.get(name, (None, None, None, True)) for name in ("small", DENSE))
        peace = not (small[3] or dense[3])
        numbers = {"ms": 1000 * small[0], "speedup": dense[0] / small[0]} if peace else {}
        found.append(Measured((way, level), f"{way}, {words}", numbers, {}))
        found.append(Measured((DENSE, level), words, {"ms": 1000 * dense[0]} if peace else {}, {}))
    return Source(0, environments[0], found)


def all_measured(folder: Path) -> bool:
    """Say whether every cell that the bench was asked for is measured."""
    asked = folder / ASKED
    if not asked.is_file():
        return False
    known = [row["cell"] for row in _rows(folder)]
    return all(cell in known for cell in json.loads(asked.read_text(encoding="utf-8")))


def _rows(folder: Path) -> list[dict[str, Any]]:
    path, rows = folder / CELLS, list[dict[str, Any]]()
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        with suppress(ValueError):
            rows.append(json.loads(line))
    return rows
