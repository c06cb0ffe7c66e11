"""Read what a sweep, a search, a study of kernels and a search for training settings measured."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from ..lab.results.metrics import metrics
from ..lab.runs import record
from ..lab.steps.language import parse
from .measured import Measured, Source, read_json
from .names import ALL, DENSE, place

# files of a sweep, of one of lists, a search, a study, a search for settings
POINTS, ORDERS, FOUND, ERRORS, BEST = "points.json", "orders.json", "found.json", "errors.csv", "best.json"


def of_sweep(folder: Path) -> Source:
    """Read a sweep without lists: a network for each kernel, selector and budget."""
    points, config = (read_json(folder / name) for name in (POINTS, record.CONFIG))
    usual, found, sample = config["selector"][0], [], _sample(config)
    for point in points.values():
        other = f"-selector={point['selector']}" if point["selector"] not in ("", usual) else ""
        name = point["kernel"] + (other + sample if point["kernel"] != DENSE else "")
        key = (name, point["budget"].removeprefix("macs=") or ALL)
        rise = {} if point["predicted_rise"] is None else {"predicted": point["predicted_rise"]}
        numbers = {name: point[name] for name in ("top1", "top5", "loss", "params", "macs", "bytes")} | rise
        found.append(Measured(key, " ".join(key), numbers, {}))
    return Source(config["seed"], config["environment"], found)


def _sample(config: Mapping[str, Any]) -> str:
    """Say in what the calibration of a sweep is another than the usual one."""
    parts = ["-refit=no"] * (not config["refit"])
    if (images := config.get("calibration_images")) is not None:
        parts.append(f"-images={images}")
    if (root := config.get("calibration_root")) is not None:
        parts.append(f"-images-of={Path(root).name}")
    return "".join(parts)


def of_orders(folder: Path) -> Source:
    """Read a sweep of lists: the network of each; how many times as fast as dense it is, if that was measured in peace.

    Points of before that was noted tell no speed.
    """
    facts, table = read_json(folder / ORDERS), pd.read_csv(folder / "orders.csv")
    found = [Measured((DENSE, ALL), DENSE, facts["dense"], {})]
    time = f"latency_{facts['latency_batch']}"
    known = [name for name in metrics() if name in table and name != "seconds"]
    for row in table.to_dict("records"):
        peace = row.get(f"{time}_noisy") is False
        numbers = {name: row[name] for name in known} | ({"speedup": 1 / row[time]} if peace else {})
        found.append(Measured(place(parse(row["list"])), row["list"], numbers, {}))
    return Source(facts["seed"], facts["environment"], found)


def of_search(folder: Path) -> Source:
    """Read a search: at each budget the plan of selector loss and the one that was found; the loss of every trial."""
    results, trials = read_json(folder / FOUND), pd.read_csv(folder / "trials.csv")
    found = []
    for row in results["rows"]:
        key = (row["plan"], row["budget"].removeprefix("macs=") or ALL)
        known = {name: row[name] for name in ("params", "macs", "bytes", "val_top1")}
        numbers = {**known, "top1": row["test_top1"], "loss": row["test_loss"]}
        own = trials[trials.budget == row["budget"]] if row["plan"] == "search" and "budget" in trials else trials[:0]
        columns = own.select_dtypes("number").astype(object)
        series = {f"trial_{name}": columns[name].where(own[name].notna(), None).tolist() for name in columns}
        found.append(Measured(key, " ".join(key), numbers, series))
    return Source(results["config"]["seed"], results["environment"], found)


def of_study(folder: Path) -> Source:
    """Read a study of kernels: the mean error over the layers of a kind, by kernel, condition and fraction kept."""
    facts, errors = read_json(folder / record.COMPLETE), pd.read_csv(folder / ERRORS, keep_default_na=False)
    found = []
    for (kernel, axes, keep, condition, kind, fraction), rows in errors.groupby(
        ["kernel", "axes", "keep", "condition", "kind", "fraction"], sort=False
    ):
        words = (kernel, axes, keep, condition.replace(", ", "+"), kind)
        key = ("-".join(filter(None, words)), f"{fraction:g}")
        found.append(Measured(key, " ".join(key), {"error": float(rows.error.mean())}, {}))
    return Source(facts["config"]["seed"], facts["environment"], found)


def of_tune(folder: Path) -> Source:
    """Read a search for training settings: the best validation accuracy, and value and settings of complete trials.

    A setting that some trial had not, since another one made it idle, is left out.
    """
    best, trials = read_json(folder / BEST), pd.read_csv(folder / "trials.csv")
    complete = trials[trials.state == "COMPLETE"].sort_values("number")
    settings = {
        name: complete[name] for name in complete if name.startswith("params_") and complete[name].notna().all()
    }
    series = {name.removeprefix("params_"): column.tolist() for name, column in settings.items()}
    numbers = {"val_top1": float(best["validation_top1"])}
    found = Measured(("tuned", ALL), "tuned", numbers, {"value": complete.value.tolist(), **series})
    return Source(best["seed"], best["environment"], [found])
