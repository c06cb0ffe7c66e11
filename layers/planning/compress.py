"""Turn a plan into a network, and keep it: compress, save, load."""

import copy
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn

from checks import need

from ..calibration.stats import Stats, check_stats
from ..checkpoint.export import export
from ..checkpoint.portable import describe, write_loader
from ..factored.specs import Spec
from ..network.surgery import replace
from ..thinning.widths import resize
from .methods import METHODS, Method
from .plan import Plan

Build = Callable[[str, Method, nn.Module, Spec], nn.Module]


def carry_out(model: nn.Module, plan: Plan, build: Build) -> nn.Module:
    """The model with every planned layer swapped for build(name, method, layer, spec), in place."""
    rows = {row.name: row for row in plan.layers}
    need(len(rows) == len(plan.layers), "plan", [row.name for row in plan.layers], "of layers that are named once each")
    unknown = sorted(set(rows) - {name for name, _ in model.named_modules()})
    need(not unknown, "plan", unknown, "about layers that the model has")

    def rule(name: str, module: nn.Module) -> nn.Module | None:
        row = rows.get(name)
        if row is None or row.kernel is None:
            return None
        where = f"plan for layer {name!r}"
        need(row.kernel in METHODS, f"{where}: kernel", row.kernel, f"one of {', '.join(METHODS)}")
        chosen = METHODS[row.kernel]
        refused = chosen.refusal(module)
        need(refused is None, where, f"{row.kernel}, but {refused}", "a kernel that the layer can take")
        try:
            return build(name, chosen, module, row.spec)
        except ValueError as error:  # a spec that is impossible, alone or in its parts
            raise ValueError(f"{where}: {error}") from None

    return replace(model, rule)


def compress(model: nn.Module, plan: Plan, *, stats: Stats | None = None) -> nn.Module:
    """A new, compressed network; the given one is untouched.  ValueError if plan or stats do not fit the model.

    model: what the plan was made for; with `plan.widths` that is the thinner network.
    stats: what `calibrate` saw of the model; factors then lose the least for the loss instead of for the weight.
    """
    if stats is not None:
        check_stats(stats, model)
    seen = {} if stats is None else stats.layers
    return carry_out(copy.deepcopy(model), plan, lambda name, m, layer, spec: m.build(layer, spec, seen.get(name)))


def save(small: nn.Module, plan: Plan, folder: str | os.PathLike[str], example: Tensor | None = None) -> None:
    """Write model.safetensors, plan.json and loader.py into a folder that appears whole or not at all.

    loader.py has the same `load` and needs torch and safetensors only.  With an example input (n, ...) there is also
    program.pt2 for torch.export.load, which does not even need the model's code.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        safetensors.torch.save_model(small, str(temporary / "model.safetensors"))
        plan.save(temporary / "plan.json", describe(small, plan))
        write_loader(temporary)
        if example is not None:
            export(small, example, temporary / "program.pt2")
        if folder.exists():
            shutil.rmtree(folder)
        temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load(folder: str | os.PathLike[str], model: nn.Module) -> nn.Module:
    """The compressed network from what `save` wrote and a fresh dense instance, which is untouched.

    Nothing is unpickled.  ValueError names what is missing, corrupt or does not fit.
    """
    folder = Path(folder)
    for name in ("plan.json", "model.safetensors"):
        need((folder / name).is_file(), "folder", str(folder), f"a folder with {name}, as layers.save writes it")
    plan = Plan.load(folder / "plan.json")
    thin = resize(copy.deepcopy(model), plan.widths)
    small = carry_out(thin, plan, lambda _, method, layer, spec: method.shell(layer, spec))
    load_tensors(small, folder / "model.safetensors")
    return small


def read_tensors(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a safetensors file; ValueError if it is cut off or another format."""
    try:
        return safetensors.torch.load_file(str(path))
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} must be a whole safetensors file, got one that cannot be read ({error})") from None


def load_tensors(model: nn.Module, path: str | os.PathLike[str]) -> None:
    """Fill the model from a safetensors file, in place; ValueError names the tensors that do not fit."""
    fill(model, read_tensors(path), path)


def fill(model: nn.Module, tensors: dict[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Put the tensors of a file into the model, in place; ValueError names those that do not fit."""
    wanted = model.state_dict()
    # tied tensors are saved once, so a name may be absent if one of its aliases is there
    alias = {name: tensor.data_ptr() for name, tensor in wanted.items() if tensor.numel()}
    present = {alias[name] for name in tensors if name in alias}
    wrong = [f"{name} is missing" for name in wanted if name not in tensors and alias.get(name) not in present]
    wrong += [f"{name} is not in the model" for name in tensors if name not in wanted]
    wrong += [
        f"{name} has shape {tuple(tensors[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        raise ValueError(f"{path} must hold the tensors of {type(model).__name__}, got: {'; '.join(wrong[:5])}{more}")
    model.load_state_dict(tensors, strict=False)
