"""The same run with several seeds as one table: mean and standard deviation of every network."""

from collections.abc import Mapping
from statistics import fmean, stdev
from typing import Any

from .comparison import Comparison, busy
from .tables import Table

SPREAD = ("top1", "top5", "loss")  # what depends on the seed; costs may, and are means


def seeds_table(runs: Mapping[int, dict[str, Any]]) -> Table:
    """Return a row per network: means over the results of each seed, `±` the standard deviation of accuracies."""
    comparison = Comparison({str(seed): results for seed, results in runs.items()})
    columns, units = comparison.columns, comparison.units
    rows: dict[str, list[dict[str, Any]]] = {}
    for _, row, _ in comparison.rows:
        rows.setdefault(row["network"], []).append(row)
    lines = []
    for name, of_seeds in rows.items():
        line = [name]
        for key, column in columns.items():
            values = [row[key] for row in of_seeds if row.get(key) is not None]
            words = column.words(fmean(values), units[key]) if values else ""
            if key in SPREAD and len(values) > 1:
                words += f" ± {column.words(stdev(values), units[key])}"
            line.append(f"{words} busy" if any(busy(row, key) for row in of_seeds) else words)
        lines.append(line)
    return Table(["network", *(column.heading(units[key]) for key, column in columns.items())], lines)
