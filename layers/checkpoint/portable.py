"""Describe a compressed network for loader.py, which needs torch and safetensors only."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from checks import require

from .. import loader
from ..coded import Transform, TransformLinear, is_coded
from ..planning import Plan
from ..thinning import arguments

CODE = "parametrizations.weight"  # where torch keeps the code of a coded layer


def _constructed(layer: nn.Module) -> tuple[str, dict[str, Any]]:
    """The name of a plain layer's class and what its constructor was given."""
    kind, given = arguments(layer)
    return kind.__name__, given


def describe(small: nn.Module, plan: Plan) -> dict[str, Any]:
    """Return what loader.py reads beside the tensors, as plain values for JSON.

    layers: prefix of their names -> plain layers in a row, or one that has fewer channels;  codes: name of a weight ->
    its transform and the names of its tensors;  tables: numbers of the transforms, each different table once.
    """
    modules: dict[str, Any] = dict(small.named_modules(remove_duplicate=False))
    rows: dict[str, Any] = {}
    codes: dict[str, Any] = {}
    tables: list[Any] = []
    for name in (row.name for row in plan.layers if row.kernel is not None):
        module = modules.get(name)
        prefix = f"{name}." if name else ""
        if isinstance(module, nn.Sequential):
            rows[prefix] = [_constructed(layer) for layer in module]  # two or more
        elif isinstance(module, TransformLinear):
            codes[f"{prefix}weight"] = _code(module.transform, f"{prefix}values", f"{prefix}transform.", tables)
        else:
            transform = getattr(module, "parametrizations", {"weight": [None]})["weight"][0]
            about = f"layer {name!r} of the network to save"
            require(isinstance(transform, Transform), about, type(module).__name__, "as the plan says: compress first")
            values, inside = f"{prefix}{CODE}.original0", f"{prefix}{CODE}.0."
            codes[f"{prefix}weight"] = _code(transform, values, inside, tables)
    for name in {**plan.widths, **plan.narrowed}:
        if not any(f"{name}.".startswith(prefix) for prefix in rows):
            module = modules[name]
            rows[f"{name}."] = [_constructed(module.materialize() if isinstance(module, TransformLinear) else module)]
    for name, module in modules.items():
        folded = not is_coded(module) or f"{name}.weight".lstrip(".") in codes
        about = f"layer {name!r} of the network to save"
        require(folded, about, f"{type(module).__name__}, masked or coded", "plain or as the plan says: fold(network)")
    return {"layers": rows, "codes": codes, "tables": tables}


def _code(transform: Transform, values: str, prefix: str, tables: list[Any]) -> dict[str, Any]:
    """How loader.py decodes one weight; its tables join those that are known."""
    buffers = {name: f"{prefix}{name}" for name in transform.state_dict()}
    return {
        "tensors": {"values": values, **buffers},
        "shape": list(transform.shape),
        "transform": transform.name,
        "axes": list(transform.axes),
        "levels": transform.levels,
        "tables": [[_number(table, tables) for table in known] for known in transform.tables()],
    }


def _number(table: Tensor, known: list[Any]) -> int:
    """The place of a table among those that are known, which it joins if it is new."""
    numbers = table.tolist()
    if numbers not in known:
        known.append(numbers)
    return known.index(numbers)


def loader_text() -> str:
    """The text of loader.py."""
    return Path(loader.__file__).read_text(encoding="utf-8")
