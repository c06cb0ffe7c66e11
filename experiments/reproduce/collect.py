"""Collect an experiment's numbers from the folders of its runs and sweeps."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from checks import require

from ..lab.results.metrics import metrics
from ..lab.results.result import Number, Numbers
from ..lab.runs import history, record
from ..lab.steps.language import parse, row_name, written
from .names import ALL, DENSE, place

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


def of_folder(folder: Path) -> list[Source]:
    """Return what every finished run and sweep below a folder measured; ValueError with file and field otherwise."""
    found = []
    for name, reader in READERS.items():
        found += [reader(path.parent) for path in sorted(folder.glob(f"*/{name}"))]
    return found


def _of_run(folder: Path) -> Source:
    """Read a run: of each list every network on the way, and of shorter options the networks of its rows."""
    results = record.read_results(folder)
    config, batches = results["config"], results["latency_batches"]
    lists = {row_name(parse(text)): text for text in config.get("compress", ())}
    epochs, found = history.read(folder), []
    for row in results["rows"]:
        name = row["network"]
        own = _numbers(row, batches)
        if name in lists:
            steps = parse(lists[name])
            for count, rung in enumerate(row["ladder"]):
                last = {**own, **_predicted(folder / name)} if count == len(steps) else {}
                numbers = {**_numbers(rung, batches), **{k: v for k, v in last.items() if k != "seconds"}}
                series = _layers(folder / name) if count == len(steps) else {}
                words = ", ".join(map(written, steps[:count])) or DENSE
                found.append(Measured(place(steps[:count]), words, numbers, series))
        else:
            plan = _predicted(folder / name)
            key = (name, config["layers"]) if config.get("frequency") and name != DENSE else _shorter(row)
            found.append(Measured(key, name, {**own, **plan}, _curves(epochs, name) | _layers(folder / name)))
    return Source(config["seed"], results["environment"], found)


def _shorter(row: Mapping[str, Any]) -> Key:
    """Return row and level of a network that the shorter options made."""
    budget = row.get("budget") or ALL
    other = f"-selector={row['selector']}" if row.get("selector") not in (None, "", "loss") else ""
    return f"{row['network']}{other}", budget.removeprefix("macs=")


def _numbers(row: Mapping[str, Any], batches: Sequence[int]) -> dict[str, float]:
    """Return the metrics of a row of results; times of a busy machine are none."""
    known = {key: row[key] for key in metrics() if isinstance(row.get(key), int | float)}
    for batch in batches:
        name = "latency_ms" if batch == 1 else f"latency_{batch}_ms"
        if name in metrics() and row.get(f"latency_{batch}") is not None and not row.get(f"latency_{batch}_noisy"):
            known[name] = 1e3 * row[f"latency_{batch}"]
    return known


def _predicted(folder: Path) -> dict[str, float]:
    """Return the rise of the loss that a plan foresees, where it foresees one."""
    from layers import Plan

    from ..lab.steps.kernel import predicted

    path = folder / "plan.json"
    rise = predicted(Plan.load(path)) if path.is_file() else None
    return {} if rise is None else {"predicted": rise}


def _layers(folder: Path) -> dict[str, list[Any]]:
    """Return what a plan gives to every layer: name, kernel, rank, and its costs after and before."""
    from layers import Plan

    path = folder / "plan.json"
    if not path.is_file():
        return {}
    layers = Plan.load(path).layers
    return {
        "layer": [layer.name for layer in layers],
        "kernel": [layer.kernel or DENSE for layer in layers],
        "spec": [dict(layer.spec) for layer in layers],
        "layer_macs": [layer.after.macs for layer in layers],
        "layer_macs_dense": [layer.before.macs for layer in layers],
        "layer_params": [layer.after.params for layer in layers],
        "layer_params_dense": [layer.before.params for layer in layers],
    }


def _curves(epochs: Sequence[Mapping[str, Any]], network: str) -> dict[str, list[Any]]:
    """Return what became of each epoch of a network that was trained."""
    own = [row for row in epochs if row["network"] == network]
    names = {"train_loss": "epoch_train_loss", "val_top1": "epoch_val_top1", "seconds": "epoch_seconds"}
    return {new: [row[old] for row in own] for old, new in names.items() if own and old in own[0]}


def _of_sweep(folder: Path) -> Source:
    """Read a sweep without lists: a network for each kernel, selector and budget."""
    points, config = (_json(folder / name) for name in ("points.json", record.CONFIG))
    usual, found = config["selector"][0], []
    for point in points.values():
        other = f"-selector={point['selector']}" if point["selector"] not in ("", usual) else ""
        key = (f"{point['kernel']}{other}", point["budget"].removeprefix("macs=") or ALL)
        rise = {} if point["predicted_rise"] is None else {"predicted": point["predicted_rise"]}
        numbers = {name: point[name] for name in ("top1", "top5", "loss", "params", "macs", "bytes")} | rise
        found.append(Measured(key, " ".join(key), numbers, {}))
    return Source(config["seed"], config["environment"], found)


READERS: dict[str, Callable[[Path], Source]] = {record.COMPLETE: _of_run, "points.json": _of_sweep}


def _json(path: Path) -> Any:
    """Read what a verb has written; ValueError names a file that is torn."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} must be as its verb wrote it, got {error}") from None


def gathered(sources: Sequence[Source], seeds: Sequence[int], where: str) -> tuple[Numbers, dict[str, Any]]:
    """Return numbers and series by row and level, a value for each seed; ValueError where a seed lacks a network.

    A network that several lists pass through is the same in all; two that only look alike by their row are refused.
    """
    known: dict[Key, dict[int, Measured]] = {}
    for source in sources:
        for found in source.measured:
            of_seeds = known.setdefault(found.key, {})
            same = next(iter(of_seeds.values()), found)
            apart = "lists of one entry that differ in more than epochs"
            require(same.words == found.words, f"{where}: {found.key[0]}", f"{same.words!r} and {found.words!r}", apart)
            before = of_seeds.get(source.seed, found)
            of_seeds[source.seed] = found._replace(
                numbers={**found.numbers, **before.numbers}, series={**found.series, **before.series}
            )
    numbers: Numbers = {}
    series: dict[str, Any] = {}
    for (row, level), of_seeds in known.items():
        short = [seed for seed in seeds if seed not in of_seeds]
        require(not short, f"{where}: {row} {level}", f"none of seed {short[:1]}", "measured with every seed")
        ordered = [of_seeds[seed] for seed in seeds]
        shared = [name for name in metrics() if all(name in found.numbers for found in ordered)]
        numbers.setdefault(row, {})[level] = {m: Number.of([found.numbers[m] for found in ordered]) for m in shared}
        if lists := {name: [found.series[name] for found in ordered] for name in ordered[0].series}:
            series.setdefault(row, {})[level] = lists
    return numbers, series
