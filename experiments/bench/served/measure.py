"""Measure one cell after the other, each written as soon as it is known, and none twice."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from checks import require
from layers import Plan, Serving, Timing, cost, interleaved
from layers.checkpoint.serving import HAS, has_bf16, missing

from ...lab.progress import Pace, log
from ...lab.runs.record import environment, processor, write_json
from . import networks
from .config import ServedBench

CELLS = "cells.jsonl"
ASKED = "asked.json"  # the cells of the last call: who reads the folder knows whether all are there
ROUNDS = 30


class Cell(NamedTuple):
    """A network, compressed in one way, where it is served."""

    network: str
    way: str
    runtime: str
    precision: str

    def __str__(self) -> str:
        return f"{self.network} {self.way}, {self.runtime} {self.precision}"


def cells(bench: ServedBench) -> list[Cell]:
    """List what is asked for and can be measured here; ValueError where that is nothing."""
    pairs: list[tuple[str, str]] = [
        (runtime, precision)
        for runtime in bench.runtimes
        for precision in bench.precisions
        if precision in HAS[runtime] and missing(runtime) is None and (precision != "bf16" or has_bf16())
    ]
    require(bool(pairs), "runtimes and precisions", f"{bench.runtimes}, {bench.precisions}", "some that are here")
    ways: list[list[str]] = [[], []]  # plans that are made in each cell come last
    for way in bench.ways:
        ways[way == "latency"].append(way)
    return [Cell(name, way, *pair) for part in ways for name in bench.networks for pair in pairs for way in part]


def conditions(bench: ServedBench) -> dict[str, Any]:
    """Return what has to be equal for two measurements to be of one table."""
    asked = {name: getattr(bench, name) for name in ("batch", "size", "threads", "fold_batchnorm")}
    return asked | {"cpu": processor(), "torch": torch.__version__}


def kept(bench: ServedBench) -> dict[Cell, dict[str, Any]]:
    """Return what has been measured in the same conditions; a line that was torn by a kill counts for nothing."""
    path, same = bench.work / CELLS, conditions(bench)
    found: dict[Cell, dict[str, Any]] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["conditions"] == same:
            found[Cell(*row["cell"])] = row
    return found


def measured(bench: ServedBench) -> Iterator[dict[Cell, dict[str, Any]]]:
    """Measure every cell that is not kept yet; yield all that is known after each."""
    bench.work.mkdir(parents=True, exist_ok=True)
    known, wanted = kept(bench), cells(bench)
    write_json(bench.work / ASKED, wanted)
    left = [cell for cell in wanted if cell not in known]
    pace, here = Pace(len(wanted), len(wanted) - len(left)), {**environment(), "threads": bench.threads}
    yield known
    for done, cell in enumerate(left, len(wanted) - len(left) + 1):
        row = {"cell": cell, "conditions": conditions(bench), "environment": here, **_measure(bench, cell)}
        with (bench.work / CELLS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        known[cell] = row
        log(f"{cell}: {_said(row)}; {pace(done)}")
        yield known


def _said(row: dict[str, Any]) -> str:
    if "why" in row:
        return str(row["why"])
    return f"{1000 * row['small'][0]:.3g} of {1000 * row['dense'][0]:.3g} ms"


def _measure(bench: ServedBench, cell: Cell) -> dict[str, Any]:
    """Return seconds and quartiles of the dense and of the compressed network, in turn; or why there is no plan."""
    model, x = networks.network(cell.network), networks.images(bench.batch, bench.size)
    serving = Serving(cell.runtime, cell.precision, bench.threads, bench.fold_batchnorm, [x]).settled(model, x)
    try:
        small = _small(bench, cell, serving, model, x)
    except ValueError as error:
        return {"why": str(error)}
    macs = cost(small, x[:1]).macs / cost(model, x[:1]).macs
    with torch.no_grad(), serving.running():
        runs = {"dense": serving.network(model, x), "small": serving.network(small, x)}
        del model, small
        times = interleaved(runs, ROUNDS, seconds=bench.seconds)
    return {"macs": macs, **{name: _numbers(timing) for name, timing in times.items()}}


def _numbers(timing: Timing) -> tuple[float, float, float, bool]:
    return timing.median, timing.low, timing.high, timing.busy


def _small(bench: ServedBench, cell: Cell, serving: Serving, model: nn.Module, x: Tensor) -> nn.Module:
    """Return the compressed network of a cell; ValueError where there is no plan."""
    if cell.way == "channels":
        return networks.thinned(model, x)
    return networks.planned(model, _plan(bench, cell, serving))


def _plan(bench: ServedBench, cell: Cell, serving: Serving) -> Plan:
    """Return the plan of a cell, from the folder where it has been made; of half the MACs one serves all runtimes."""
    where = f"-{cell.runtime}-{cell.precision}" * (cell.way == "latency")
    path = Path(bench.work) / f"{cell.network}-{bench.batch}x{bench.size}-{cell.way}{where}.json"
    if cell.way != "latency" and path.is_file():
        return Plan.load(path)
    before = torch.get_num_threads()
    torch.set_num_threads(bench.threads)
    try:
        x = networks.images(bench.batch, bench.size)
        chosen = networks.plan(networks.network(cell.network), cell.way, x, serving, bench.work / "layers")
    finally:
        torch.set_num_threads(before)
    chosen.save(path)
    return chosen
