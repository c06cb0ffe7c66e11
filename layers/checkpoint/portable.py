"""What `save` adds so that the result runs where we are not: a loader that needs torch and safetensors only."""

import shutil
from pathlib import Path
from typing import Any

from torch import nn

from ..coded import TransformLinear
from ..planning import Plan
from ..thinning import arguments
from .recipe import recipe

CODE = "parametrizations.weight"  # where torch keeps the code of a coded layer


def _constructed(layer: nn.Module) -> tuple[str, dict[str, Any]]:
    """The name of a plain layer's class and what its constructor was given."""
    kind, given = arguments(layer)
    return kind.__name__, given


def describe(small: nn.Module, plan: Plan) -> dict[str, Any]:
    """What loader.py is told.

    layers: prefix of their names -> plain layers in a row, or one that has fewer channels;  recipes: name of a weight
    -> [place -> name of a tensor, place -> number of a table, number of the steps of its decoding];  tables and steps:
    each different one once, for weights of the same shape and spec share them.
    """
    rows: dict[str, Any] = {}
    recipes: dict[str, Any] = {}
    tables: list[Any] = []
    steps: list[Any] = []
    for name in (row.name for row in plan.layers if row.kernel is not None):
        module: Any = small.get_submodule(name)
        at = f"{name}." if name else ""
        if isinstance(module, nn.Sequential):
            rows[at] = [_constructed(layer) for layer in module]  # two or more
            continue
        linear = isinstance(module, TransformLinear)
        transform = module.transform if linear else module.parametrizations.weight[0]
        values, inside = ("values", "transform.") if linear else (f"{CODE}.original0", f"{CODE}.0.")
        names, lists, decoding = recipe(transform, module.get_parameter(values))
        stored = dict(enumerate([f"{at}{values}", *(f"{at}{inside}{name}" for name in names)]))
        numbers = dict(enumerate((_number(table, tables) for table in lists), len(stored)))
        recipes[f"{at}weight"] = stored, numbers, _number(decoding, steps)
    for name in plan.widths:
        if f"{name}." not in rows:
            module = small.get_submodule(name)
            rows[f"{name}."] = [_constructed(module.materialize() if isinstance(module, TransformLinear) else module)]
    return {"layers": rows, "recipes": recipes, "tables": tables, "steps": steps}


def _number(item: Any, known: list[Any]) -> int:
    """Its place among those that are known, which it joins if it is new."""
    if item not in known:
        known.append(item)
    return known.index(item)


def write_loader(folder: Path) -> None:
    """loader.py, a copy of the file beside this one."""
    shutil.copyfile(Path(__file__).parents[1] / "loader.py", folder / "loader.py")
