"""The tables of a study: CSV with every row, and one Markdown page with the means over the layers."""

from pathlib import Path
from typing import Any

import pandas as pd

from layers.network import write_text

from ..lab.reporting.provenance import command_of, provenance
from ..lab.reporting.tables import Table, markdown
from ..lab.reporting.units import counted
from .config import Study
from .measuring.clock import FRACTION
from .measuring.measure import Tables, pooled
from .measuring.versions import CONDITIONS

KINDS = {"conv": "convolutions", "linear": "Linear layers"}


def label(kernel: str, axes: str, keep: str = "") -> str:
    """Name a kernel for a reader: "dct (all), largest"."""
    name = f"{kernel} ({axes})" if axes else kernel
    return f"{name}, {keep}" if keep in ("largest", "lowest") and kernel != "none" else name


def kinds(table: pd.DataFrame) -> list[str]:
    """Return the kinds of layers that there are, convolutions first."""
    return [kind for kind in KINDS if (table.kind == kind).any()]


def near(fractions: list[float], wanted: float = 1 / 8) -> float:
    """Return the kept fraction at which conditions are compared: the nearest to `wanted` on a logarithmic scale."""
    return min(fractions, key=lambda f: max(f / wanted, wanted / f))


def fraction_name(fraction: float) -> str:
    """Write 1/8 where the fraction is that."""
    return f"1/{round(1 / fraction)}" if abs(round(1 / fraction) * fraction - 1) < 1e-9 else f"{fraction:.3g}"


def _markdown(table: pd.DataFrame, decimals: int = 3) -> str:
    """Write the numbers in Markdown; the index, of kernels, is the first column."""
    rows = [
        [str(name), *("" if pd.isna(value) else f"{value:.{decimals}f}" for value in row)]
        for name, row in zip(table.index, table.to_numpy())
    ]
    return markdown(Table(["kernel", *map(str, table.columns)], rows))


def wide(table: pd.DataFrame, column: str, value: str) -> pd.DataFrame:
    """Return one row per kernel, axes and keep, one column per value of `column`, in order of first appearance."""
    keep = table.keep if "keep" in table else [""] * len(table)
    names = [label(*row) for row in zip(table.kernel, table["axes"], keep)]
    flat = pd.DataFrame({"kernel": names, "column": table[column], "value": table[value]})
    result = flat.pivot(index="kernel", columns="column", values="value")
    return result.loc[list(dict.fromkeys(names)), list(dict.fromkeys(flat.column))]


def page(study: Study, results: Tables, clock: pd.DataFrame, facts: dict[str, Any]) -> str:
    """Return the page tables.md."""
    parts = [f"# Tables of the kernel study\n\n{facts['source']}. Means over layers, each weighted by its numbers.\n"]
    fractions = facts["config"]["fractions"]
    for kind in kinds(results.errors):
        errors, compaction = pooled(results.errors, kind), pooled(results.compaction, kind)
        trained = wide(errors[errors.condition == "trained"], "fraction", "error").rename(columns=fraction_name)
        at = near(fractions)
        conditions = wide(errors[errors.fraction == at], "condition", "error").reindex(columns=CONDITIONS)
        needed = compaction[compaction.condition.isin(("trained", "random"))].copy()
        names = [c for c in needed if c.startswith("needed")]
        both = {
            f"{name.replace('needed_', '')}{' %' if name in names else ''}, {condition}": wide(rows, "condition", name)[
                condition
            ]
            for name in (*names, "gini")
            for condition, rows in needed.groupby("condition", sort=False)
        }
        parts += [
            f"## {KINDS[kind].capitalize()}: relative error of trained weights, by fraction of the numbers stored\n",
            "`largest` pays for the positions of what it keeps. `none` keeps the largest weights themselves. "
            "An error of 1 means that nothing fits.\n",
            _markdown(trained),
            f"## {KINDS[kind].capitalize()}: relative error at {fraction_name(at)}, by condition\n",
            "Decompositions do not see the order of channels; they are measured on one shuffled weight as evidence.\n",
            _markdown(conditions),
            f"## {KINDS[kind].capitalize()}: fraction of coefficients for 90, 95, 99 % of the energy, and Gini index\n",
            _markdown(pd.DataFrame(both)),
        ]
    if len(clock):
        ms = wide(clock.assign(median=clock["median"] * 1e3), "stage", "median").rename(columns=lambda s: f"stage {s}")
        shape = "x".join(map(str, facts["timed"]["shape"]))
        parts += [
            f"## Milliseconds of one encoding of {facts['timed']['name']} ({shape}, float32)\n",
            f"Transforms along the input channels, decompositions at {fraction_name(FRACTION)} of the numbers. "
            f"Medians, all measured in turn; torch threads: {facts['environment']['threads']}.\n",
            _markdown(ms),
        ]
    draws = f"means over layers and {counted(facts['config']['repeats'], 'draw')}"
    return "\n".join([*parts, provenance(command_of("study", study), facts["environment"], draws), ""])


def write(study: Study, results: Tables, clock: pd.DataFrame, facts: dict[str, Any], folder: Path) -> None:
    """Write errors.csv, compaction.csv, curves.csv, times.csv and tables.md."""
    curves = [pooled(results.curves, kind).assign(kind=kind) for kind in kinds(results.curves)]
    for name, table in {
        "errors": results.errors,
        "compaction": results.compaction,
        "curves": pd.concat(curves),  # over layers: by layer it would be most of the folder
        "times": clock,
    }.items():
        write_text(folder / f"{name}.csv", table.to_csv(index=False))
    write_text(folder / "tables.md", page(study, results, clock, facts))
