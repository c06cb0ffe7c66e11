"""Several runs as one table: every network of each, what it costs, and that as a ratio to a dense network."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd


class Column(NamedTuple):
    """A figure of the table: its heading, how it is written, and how it is held against the dense network's."""

    title: str
    words: Callable[[float], str]
    against: Callable[[float, float], str]


def _points(value: float, dense: float) -> str:
    return f"{value - dense:+.2f}"


def _percent(value: float, dense: float) -> str:
    return f"{value / dense:.0%}" if dense else ""


def _times(value: float, dense: float) -> str:
    return f"{value / dense:.2f}x" if dense else ""  # nothing to compare a training time with where none was trained


def _short(number: float) -> str:
    power = min(3, (len(f"{max(number, 1):.0f}") - 1) // 3)
    return f"{number / 1000**power:.3g}{('', ' k', ' M', ' G')[power]}"


def _seconds(value: float) -> str:
    unit, factor = ("s", 1) if value >= 1 else ("ms", 1e3) if value >= 1e-3 else ("µs", 1e6)
    return f"{value * factor:.3g} {unit}" if value < 1000 else f"{value:,.0f} s"


def columns(batches: Sequence[int], deflated: bool = False) -> dict[str, Column]:
    """Key of a row -> its column; `deflated` where a network is pruned or quantised."""
    return {
        "top1": Column("top-1 %", "{:.2f}".format, _points),
        "top5": Column("top-5 %", "{:.2f}".format, _points),
        "loss": Column("loss", "{:.3f}".format, _points),
        "params": Column("params", _short, _percent),
        "macs": Column("MACs", _short, _percent),
        "bytes": Column("bytes", _short, _percent),
        **({"deflated": Column("bytes, zlib", _short, _percent)} if deflated else {}),
        **{f"latency_{n}": Column(f"batch {n}", _seconds, _times) for n in batches},
        "peak_memory": Column("peak memory", _short, _percent),
        "training_seconds": Column("training", _seconds, _times),
    }


class Comparison(NamedTuple):
    """Runs by label, and the label of the one whose dense network is held against all, or None for each its own."""

    runs: Mapping[str, dict[str, Any]]
    dense: str | None = None

    @property
    def batches(self) -> list[int]:
        """Batch sizes that any of the runs was timed with."""
        return sorted({n for results in self.runs.values() for n in results["latency_batches"]})

    @property
    def columns(self) -> dict[str, Column]:
        """Those that any of the runs has."""
        return columns(self.batches, any("deflated" in results["rows"][0] for results in self.runs.values()))

    def dense_row(self, label: str) -> dict[str, Any]:
        """What a run's rows are held against."""
        return self.runs[label if self.dense is None else self.dense]["rows"][0]


def frame(comparison: Comparison) -> pd.DataFrame:
    """A row per network, in plain numbers: SI units, percent for accuracies, and `KEY / dense` for each cost."""
    rows = []
    for label, results in comparison.runs.items():
        dense, config = comparison.dense_row(label), results["config"]
        for row in results["rows"]:
            costs = [key for key in comparison.columns if key not in ("top1", "top5", "loss")]
            ratios = {f"{k} / dense": row[k] / dense[k] if k in row and dense.get(k) else None for k in costs}
            which = {"run": label, "dataset": config["dataset"], "model": config["model"], "seed": config["seed"]}
            where = {key: results["environment"].get(key) for key in ("threads", "gpu", "commit")}
            rows.append({**which, **row, **ratios, "test_images": results["test_images"], **where})
    return pd.DataFrame(rows)


def cells(comparison: Comparison, between: str = " ") -> tuple[list[str], list[list[str]]]:
    """Header and rows for a reader: the number, then `between`, then how it compares to dense."""
    shown, table = comparison.columns, []
    for label, results in comparison.runs.items():
        dense = comparison.dense_row(label)
        for row in results["rows"]:
            line = [label, row["network"]]
            for key, column in shown.items():
                value, reference = row.get(key), dense.get(key)
                words = "" if value is None else column.words(value)
                ratio = ""
                if value is not None and reference is not None and row is not dense:
                    ratio = column.against(value, reference)
                line.append(f"{words}{between}{ratio}".strip() if ratio else words)
            table.append(line)
    return ["run", "network", *(column.title for column in shown.values())], table


def caption(comparison: Comparison) -> str:
    """How the numbers were measured, and which are to be taken with care."""
    against = "of its own run" if comparison.dense is None else f"of {comparison.dense}"
    parts = [f"second figures: against the dense network {against}; memory in bytes"]
    for label, results in comparison.runs.items():
        device = results["environment"]["gpu"] or f"CPU, {results['environment']['threads']} threads"
        parts.append(f"{label}: {results['test_images']:,} test images, seed {results['config']['seed']}, {device}")
        noisy = [n for n in results["latency_batches"] if results["rows"][0].get(f"latency_{n}_noisy")]
        if noisy:
            parts.append(f"{label}: timed on a busy machine at batch {', '.join(map(str, noisy))}, take with care")
    return "; ".join(parts)
