"""The measurements: one row per layer, kernel, axes, condition and kept fraction."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import pandas as pd
import torch
from torch import Tensor

from ..config import Measurement
from ..weights import Weight
from . import decompositions as ranks
from .coefficients import TRANSFORMS, coefficients, frequency
from .compaction import affordable, explained, gini, needed
from .versions import versions

AXES: dict[str, dict[str, tuple[int, ...]]]
AXES = {"conv": {"channels": (0, 1), "spatial": (2, 3), "all": (0, 1, 2, 3)}, "linear": {"channels": (0, 1)}}
NONE = "none"  # no transform: the weights themselves are the coefficients, as in magnitude pruning
SHARES = (0.9, 0.95, 0.99)
GRID = [2 ** (-step / 2) for step in range(16, -1, -1)]  # n / N of the curves, 1/256 to 1


class Tables(NamedTuple):
    """errors, compaction and curves, one row per layer, kernel, axes, (keep,) condition and fraction.

    Means over the draws of the condition; error_low and error_high are the least and the largest of them.
    """

    errors: pd.DataFrame
    compaction: pd.DataFrame
    curves: pd.DataFrame


class _Curve(NamedTuple):
    """The variance explained by the first n coefficients (versions, N + 1), and how to name and afford them."""

    kernel: str
    axes: str
    keep: str
    v: Tensor
    gini: Tensor | None


def _curves(x: Tensor, kind: str) -> Iterator[_Curve]:
    """Yield every transform over every choice of axes, largest and lowest first."""
    yield _Curve(NONE, "", "largest", explained(x.flatten(1)), gini(x.flatten(1)))
    for kernel in TRANSFORMS:
        for name, axes in AXES[kind].items():
            c = coefficients(x, kernel, [axis + 1 for axis in axes]).flatten(1)
            order = frequency(kernel, x.shape[1:], axes).flatten().argsort(stable=True)
            yield _Curve(kernel, name, "largest", explained(c), gini(c))
            yield _Curve(kernel, name, "lowest", explained(c, order), None)


def _mean(values: Tensor, conditions: Sequence[str]) -> Iterator[tuple[str, Tensor]]:
    """Yield (condition, its values) in the order of first appearance."""
    for condition in dict.fromkeys(conditions):
        yield condition, values[[name == condition for name in conditions]]


def _error_rows(values: Tensor, conditions: Sequence[str], row: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for condition, e in _mean(values, conditions):
        spread = {"error": float(e.mean()), "error_low": float(e.min()), "error_high": float(e.max())}
        yield {**row, "condition": condition, **spread}


def measure(weight: Weight, options: Measurement, seed: int) -> Tables:
    """Measure the rows of one layer; at every fraction the positions of the largest coefficients are paid for, too."""
    conditions, x = versions(weight.w, options.repeats, seed)
    n = weight.w.numel()
    errors: list[dict[str, Any]] = []
    compaction: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for curve in _curves(x, weight.kind):
        row = {"layer": weight.name, "kind": weight.kind, "numbers": n, "kernel": curve.kernel, "axes": curve.axes}
        for fraction in options.fractions:
            kept = affordable(n, fraction) if curve.keep == "largest" else int(fraction * n)
            left = (1 - curve.v[:, kept]).clamp(min=0).sqrt()
            choice = {"keep": curve.keep, "fraction": fraction, "stored": fraction * n, "coefficients": kept}
            errors += _error_rows(left, conditions, row | choice)
        for fraction in GRID:
            share = curve.v[:, max(1, round(fraction * n))]
            for condition, values in _mean(share, conditions):
                choice = {"keep": curve.keep, "condition": condition, "fraction": fraction}
                curves.append({**row, **choice, "explained": float(values.mean())})
        if curve.gini is not None:
            rows = torch.stack([*(needed(curve.v, share) for share in SHARES), curve.gini], 1)
            for condition, values in _mean(rows, conditions):
                names = (*(f"needed_{share:.0%}".rstrip("%") for share in SHARES), "gini")
                compaction.append({**row, "condition": condition, **dict(zip(names, values.mean(0).tolist()))})
    few = [i for i, name in enumerate(conditions) if name in ("trained", "random")] + [conditions.index("shuffled")]
    conditions, x = [conditions[i] for i in few], x[few]  # no decomposition sees the order: one permutation as evidence
    for method in ranks.CONV if weight.kind == "conv" else ranks.MATRIX:
        row = {"layer": weight.name, "kind": weight.kind, "numbers": n, "kernel": method.kernel, "axes": method.layout}
        for fraction in options.fractions:
            stored, left = ranks.errors(method, x, fraction)
            choice = {"keep": "rank", "fraction": fraction, "stored": stored, "coefficients": stored}
            errors += _error_rows(left, conditions, row | choice)
        if method.kernel == "svd":
            curves += _svd_curve(method, x, conditions, row)
    return Tables(pd.DataFrame(errors), pd.DataFrame(compaction), pd.DataFrame(curves))


def _svd_curve(
    method: ranks.Decomposition, x: Tensor, conditions: Sequence[str], row: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Yield the variance explained by the components that fraction * N numbers hold: a step function of the rank."""
    y = method.view(x)
    v = explained(torch.linalg.svdvals(y))
    for fraction in GRID:
        rank = min(int(fraction * y[0].numel() / sum(y.shape[1:])), min(y.shape[1:]))
        for condition, values in _mean(v[:, rank], conditions):
            choice = {"keep": "rank", "condition": condition, "fraction": fraction}
            yield {**row, **choice, "explained": float(values.mean())}


def pooled(table: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Average over all layers of a kind, each weighted by its numbers; one row less per layer."""
    layers = table[table.kind == kind]
    keys = [k for k in ("kernel", "axes", "keep", "condition", "fraction") if k in layers]
    values = [c for c in layers if c not in {*keys, "layer", "kind", "numbers", "stored", "coefficients"}]
    weighted = layers[keys].join(layers[values].mul(layers.numbers, axis=0)).assign(numbers=layers.numbers)
    total = weighted.groupby(keys, sort=False).sum()
    return total[values].div(total.numbers, axis=0).reset_index()
