"""Networks of one or several runs as one table: what each costs, and that as a ratio to a dense network."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from string import ascii_uppercase
from typing import Any, NamedTuple

import pandas as pd

from .provenance import differences, machine
from .style import wilson
from .tables import Table
from .units import BYTES, COUNTS, PLAIN, SECONDS, Unit, brief, digits, unit_of

MANY = 10  # classes: of no more, almost every network has the right one among its first five


def _points(value: float, dense: float) -> str:
    return _signed(value - dense, 2)


def _difference(value: float, dense: float) -> str:
    return _signed(value - dense, 3)


def _signed(value: float, decimals: int) -> str:
    return brief(f"{round(value, decimals) + 0.0:+.{decimals}f}", value, "+")  # no "-0.00"


def _percent(value: float, dense: float) -> str:
    return f"{brief(f'{100 * value / dense:.0f}', 100 * value / dense)}%" if dense else ""


def _times(value: float, dense: float) -> str:
    return (
        f"{brief(f'{value / dense:.2f}', value / dense)}x" if dense else ""
    )  # nothing to compare a training time with where none was trained


class Column(NamedTuple):
    """A figure of the table: its heading, how it is held against the dense network's, how it is written."""

    title: str
    against: Callable[[float, float], str]
    units: tuple[Unit, ...] = PLAIN
    decimals: int | None = None  # None: four significant digits in one unit for the column

    def heading(self, unit: Unit) -> str:
        """Return the title and the column's unit."""
        return f"{self.title}, {unit.sign}" if unit.sign else self.title

    def words(self, value: float, unit: Unit) -> str:
        """Return the number in the column's unit."""
        return digits(value / unit.size) if self.decimals is None else brief(f"{value:.{self.decimals}f}", value)


def columns(batches: Sequence[int]) -> dict[str, Column]:
    """Return key of a row -> its column."""
    return {
        "top1": Column("top-1, %", _points, decimals=2),
        "top1_before": Column("before tuning, %", _points, decimals=2),
        "top5": Column("top-5, %", _points, decimals=2),
        "loss": Column("loss", _difference, decimals=3),
        "params": Column("params", _percent, COUNTS),
        "macs": Column("MACs", _percent, COUNTS),
        "bytes": Column("size", _percent, BYTES),  # of the file
        **{f"latency_{n}": Column(f"batch {n}", _times, SECONDS) for n in batches},
        "peak_memory": Column("peak memory", _percent, BYTES),
        "training_seconds": Column("training", _times, SECONDS[:1]),
    }


class Comparison(NamedTuple):
    """Runs by label, and the label of the one whose dense network is held against all, or None for each its own."""

    runs: Mapping[str, dict[str, Any]]
    dense: str | None = None

    @property
    def batches(self) -> list[int]:
        """Return the batch sizes that any of the runs was timed with."""
        return sorted({n for results in self.runs.values() for n in results["latency_batches"]})

    @property
    def rows(self) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
        """Yield (run, row, the dense row that it is held against) of every network."""
        for label, results in self.runs.items():
            yield from ((label, row, self.dense_row(label)) for row in results["rows"])

    @property
    def columns(self) -> dict[str, Column]:
        """Return the columns that any of the runs has something in."""
        every = columns(self.batches)
        few = all(results.get("classes", MANY + 1) <= MANY for results in self.runs.values())
        tuned = any(row.get("top1_before") is not None for _, row, _ in self.rows)
        left_out = [*["top5"] * few, *["top1_before"] * (not tuned)]
        found = {key for _, row, _ in self.rows for key, value in row.items() if value is not None}
        return {key: column for key, column in every.items() if key not in left_out and key in found}

    @property
    def units(self) -> dict[str, Unit]:
        """Return the unit of each column, one for all networks."""
        return {
            key: unit_of([row[key] for _, row, _ in self.rows if row.get(key) is not None], column.units)
            for key, column in self.columns.items()
        }

    @property
    def letters(self) -> dict[str, str]:
        """Return run -> the letter, or the number, that stands for it in figures; nothing of one run alone."""
        signs = ascii_uppercase if len(self.runs) <= len(ascii_uppercase) else map(str, range(1, len(self.runs) + 1))
        return dict(zip(self.runs, signs)) if len(self.runs) > 1 else {}

    def called(self, label: str, network: str) -> str:
        """Name a network as figures do: without what all have in their names, of several runs with the run's letter."""
        name = brief_names([row["network"] for _, row, _ in self.rows]).get(network, network)
        return f"{name} {self.letters[label]}" if len(self.runs) > 1 else name

    def dense_row(self, label: str) -> dict[str, Any]:
        """Return what a run's rows are held against."""
        return self.runs[label if self.dense is None else self.dense]["rows"][0]


def brief_names(names: Sequence[str]) -> dict[str, str]:
    """Return name -> its parts that not all compressed networks have; the whole names where that would mix up two.

    >>> brief_names(["dense", "svd-macs0.5-finetune-2", "svd-macs0.5-refit-no-finetune-2"])
    {'svd-macs0.5-finetune-2': 'svd', 'svd-macs0.5-refit-no-finetune-2': 'svd-refit-no'}
    """
    parts = {name: name.split("-") for name in dict.fromkeys(names) if name != "dense"}
    if len(parts) < 2:
        return {}
    shared = set.intersection(*map(set, parts.values()))
    found = {name: "-".join(own[:1] + [part for part in own[1:] if part not in shared]) for name, own in parts.items()}
    return found if len({*found.values(), "dense"}) == len(found) + 1 else {}


def busy(row: Mapping[str, Any], key: str) -> bool:
    """Whether the machine had other work while this latency was measured."""
    return bool(row.get(f"{key}_noisy"))


def ratio(row: Mapping[str, Any], dense: Mapping[str, Any], key: str) -> float | None:
    """Return a cost over the dense network's; None where either is missing or zero, or was timed on a busy machine."""
    if row.get(key) is None or not dense.get(key) or busy(row, key) or busy(dense, key):
        return None
    return row[key] / dense[key]


def frame(comparison: Comparison) -> pd.DataFrame:
    """Return a row per network in plain numbers: SI units, percent for accuracies, `KEY / dense` for each cost."""
    costs = [key for key in comparison.columns if key not in ("top1", "top1_before", "top5", "loss")]
    rows = []
    for label, row, dense in comparison.rows:
        results = comparison.runs[label]
        config, environment = results["config"], results["environment"]
        ratios = {f"{key} / dense": ratio(row, dense, key) for key in costs}
        run = {"run": label, "dataset": config["dataset"], "model": config["model"], "seed": config["seed"]}
        origin = {key: environment.get(key) for key in ("threads", "gpu", "torch", "commit")}
        plain = {key: value for key, value in row.items() if key != "ladder"}  # which is a table of its own
        rows.append({**run, **plain, **ratios, "test_images": results["test_images"], **origin})
    return pd.DataFrame(rows)


def cells(comparison: Comparison, between: str = " ") -> Table:
    """Return, for a reader, every number, `between`, how it compares to dense; first the run, if there are several."""
    several, units = len(comparison.runs) > 1, comparison.units
    origins = [origin(row) for _, row, _ in comparison.rows]
    chosen = any(origins)
    lines = [
        [label] * several
        + [row["network"], *[made] * chosen]
        + [_cell(row, dense, key, column, units[key], between) for key, column in comparison.columns.items()]
        for (label, row, dense), made in zip(comparison.rows, origins)
    ]
    heads = [column.heading(units[key]) for key, column in comparison.columns.items()]
    return Table(["run"] * several + ["network", *["ranks by"] * chosen, *heads], lines, 1 + chosen + several)


def origin(row: Mapping[str, Any]) -> str:
    """Say how ranks were chosen and whether factors were refitted; nothing of runs from before that was kept."""
    return f"{row['selector']}{', refit' * row['refit']}" if row.get("selector") else ""


def _cell(row: dict[str, Any], dense: dict[str, Any], key: str, column: Column, unit: Unit, between: str) -> str:
    if row.get(key) is None:
        return ""
    words = column.words(row[key], unit)
    if busy(row, key) or busy(dense, key):
        return f"{words}{between}busy" if busy(row, key) else words  # a ratio would be one of the other work
    against = "" if row is dense or dense.get(key) is None else column.against(row[key], dense[key])
    return f"{words}{between}{against}" if against else words


def caption(comparison: Comparison) -> list[str]:
    """Return sentences: how the numbers were measured, in what the runs differ, which are to be taken with care."""
    against = "of its own run" if comparison.dense is None else f"of {comparison.dense}"
    sentences = [
        f"Second figures: against the dense network {against}. "
        "Latency: median of a forward pass of so many images, the networks in turn."
    ]
    if "top1_before" in comparison.columns:
        sentences.append("Before tuning: top-1 of the compressed network before its first step of fine-tuning.")
    options = differences([results["config"] for results in comparison.runs.values()])
    for (label, results), given in zip(comparison.runs.items(), options):
        parts = [f"{results['test_images']:,} test images", f"seed {results['config']['seed']}"]
        widest = max(high - low for low, high in (wilson(r["top1"], results["test_images"]) for r in results["rows"]))
        parts.append(f"one run, 95 % interval of top-1 (Wilson) at most ± {widest / 2:.2f}")
        made = {row["network"]: origin(row) for row in results["rows"] if origin(row)}
        for selector in dict.fromkeys(made.values()):
            parts.append(f"{', '.join(name for name in made if made[name] == selector)}: ranks by selector {selector}")
        if results["config"].get("reestimate_batchnorm"):  # runs of before it existed lack it
            parts.append("BatchNorm statistics of compressed networks measured anew on training images")
        if "preprocessing" in results:
            parts.append(f"images: {results['preprocessing']['words']}")
        parts += [machine(results["environment"]), *([given] if given else [])]
        sentences.append(f"{label}: {'; '.join(parts)}.")
        noisy = [n for n in results["latency_batches"] if any(busy(row, f"latency_{n}") for row in results["rows"])]
        if noisy:
            many = ", ".join(map(str, noisy))
            sentences.append(f"{label}: timed on a busy machine at batch {many}, take with care.")
    return sentences
