"""Keep a compressed network in a folder, and read it back."""

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from checks import require

from ..loader import materialise
from ..network import PARTIAL, copy_of, load_tensors, whole_folder, write_network, write_text
from ..planning import Plan, carry_out
from ..thinning import resize, widths_of
from .export import export
from .portable import describe, loader_text

# All that `save` may write; the last one, without which the others are not read, is replaced last.
FILES = ("plan.json", "loader.py", "program.pt2", "preprocessing.json", "model.safetensors")


def save(
    small: nn.Module,
    plan: Plan,
    folder: str | os.PathLike[str],
    example: Tensor | None = None,
    *,
    preprocessing: Mapping[str, Any] | None = None,
    compressed: bool = False,
) -> None:
    """Write model.safetensors, plan.json and loader.py into a folder that appears whole or not at all.

    Each tensor takes the smallest form that is exact: weights of few values a filter as whole numbers of few bits and a
    scale, weights of which many are zero as places and values, others as they are.  loader.py has the same `load` and
    needs torch and safetensors only.  In a folder that `save` wrote before, these files are replaced and all others
    stay.

    Args:
        small: what `compress` made of the network that the plan is of; also pruned, refitted or trained on.
        plan: the plan; the widths that `prune_channels` changed beforehand are added where it has none; those that
            it changed after `compress` must stand in `narrowed`.
        folder: a folder that is new, empty, or was written by `save`.
        example: an input (n, ...), for program.pt2 as well, which torch.export.load reads without the model's code.
        preprocessing: how images become inputs, plain values for preprocessing.json, which program.pt2 has as well.
        compressed: model.safetensors by brotli, bit for bit, which loader.py then needs as well: 8 bits a weight and
            fewer come close to their entropy, float32 loses a sixth, and writing takes 2 s a MB (from 4 MB on 0.04).

    Raises:
        ValueError: for a folder that holds anything else, in which nothing is changed; for a network that is not one
            of the plan, or that `export` refuses.

    Example:
        >>> import tempfile, torch
        >>> from layers import Budget, compress, load, make_plan, save
        >>> model, x = torch.nn.Sequential(torch.nn.Linear(32, 32)), torch.ones(1, 32)
        >>> plan = make_plan(model, Budget(params=0.5), ("svd",), example=x)
        >>> small = compress(model, plan)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save(small, plan, folder)
        ...     bool((load(folder, model)(x) == small(x)).all())
        True
    """
    _check_folder(Path(folder))
    if not plan.narrowed:
        plan = dataclasses.replace(plan, widths=widths_of(small) or plan.widths)
    modules = describe(small, plan)
    facts = {} if preprocessing is None else {"preprocessing.json": _json(preprocessing)}
    with whole_folder(folder, FILES) as temporary:
        write_network(small, temporary / "model.safetensors", compressed)
        plan.save(temporary / "plan.json", modules)
        write_text(temporary / "loader.py", loader_text())
        for name, text in facts.items():
            write_text(temporary / name, text)
        if example is not None:
            export(small, example, temporary / "program.pt2", facts)


def _json(preprocessing: Mapping[str, Any]) -> str:
    """The text of preprocessing.json."""
    try:
        return json.dumps(dict(preprocessing), indent=1, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise ValueError(f"preprocessing must be plain values for JSON, got {preprocessing} ({error})") from None


def _check_folder(folder: Path) -> None:
    """Refuse a folder that `save` may not write to, for it holds what others wrote."""
    allowed = "a folder that is new, empty, or was written by layers.save"
    require(folder.is_dir() or not folder.exists(), "folder", str(folder), f"{allowed}, not a file")
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    others = [name for name in names if not name.startswith(PARTIAL)]  # a killed writer may have left something
    if not others:
        return
    try:
        plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        plan = None
    ours = isinstance(plan, dict) and "modules" in plan  # which `Plan.save` alone does not write
    require(ours, "folder", f"{folder} with {', '.join(others[:3])}", allowed)
    odd = [name for name in FILES if (folder / name).is_dir()]
    require(not odd, "folder", f"{folder} with folders {odd}", allowed)


def load(folder: str | os.PathLike[str], model: nn.Module) -> nn.Module:
    """Return the compressed network, from what `save` wrote and a fresh dense instance, which is untouched.

    Nothing is unpickled.

    Args:
        folder: what `save` wrote, of this version or an earlier one.
        model: the dense network, its numbers of no account; tensors on the meta device get memory on the CPU.

    Returns:
        A network with the numbers that were saved, bit for bit, in the mode of `model`.

    Raises:
        ValueError: names what is missing, corrupt or of another network.

    Example: see `save`.
    """
    folder = Path(folder)
    for name in ("plan.json", "model.safetensors"):
        require((folder / name).is_file(), "folder", str(folder), f"a folder with {name}, as layers.save writes it")
    plan = Plan.load(folder / "plan.json")
    dense = copy_of(model)
    materialise(dense)
    small = carry_out(resize(dense, plan.widths), plan, lambda _, method, layer, spec: method.shell(layer, spec))
    small = resize(small, plan.narrowed)
    load_tensors(small, folder / "model.safetensors")
    return small
