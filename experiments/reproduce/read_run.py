"""Read what a run measured: of each list of steps every network on the way, of shorter options those of its rows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..lab.results.metrics import metrics
from ..lab.runs import history, record
from ..lab.steps.language import parse, row_name, written
from ..lab.steps.weights import Weights
from .measured import Key, Measured, Source
from .names import ALL, DENSE, place


def of_run(folder: Path) -> Source:
    """Return the networks of a run; ValueError where its results are torn, foreign or newer."""
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
                series = _curves(epochs, name) | _layers(folder / name) if count == len(steps) else {}
                if series and any(isinstance(step, Weights) for step in steps):
                    series |= zeros(folder / name)
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


def zeros(folder: Path) -> dict[str, list[Any]]:
    """Return the layers of a saved network and the share of zeros among the weights of each, its factors together."""
    from layers import Plan
    from layers.loader import read

    plan, shares = Plan.load(folder / "plan.json"), []
    tensors = read(folder / "model.safetensors", 2**20 + 16 * max(plan.before.bytes, plan.before.params))
    weighted = {key: value for key, value in tensors.items() if value.ndim > 1}
    names = [layer.name for layer in plan.layers] or [key.removesuffix(".weight") for key in weighted]
    for name in names:
        parts = [value for key, value in weighted.items() if key.startswith(f"{name}.")]
        weights = sum(part.numel() for part in parts)
        shares.append(sum(int((part == 0).sum()) for part in parts) / weights if weights else 0.0)
    return {"layer": names, "layer_zeros": shares}


def _curves(epochs: Sequence[Mapping[str, Any]], network: str) -> dict[str, list[Any]]:
    """Return what became of each epoch of a network that was trained."""
    own = [row for row in epochs if row["network"] == network]
    names = {"train_loss": "epoch_train_loss", "val_top1": "epoch_val_top1", "seconds": "epoch_seconds"}
    return {new: [row[old] for row in own] for old, new in names.items() if own and old in own[0]}
