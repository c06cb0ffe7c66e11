"""Keep a compressed network in a folder, and read it back."""

import copy
import os
import shutil
import tempfile
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn

from checks import require

from ..network import load_tensors
from ..planning import Plan, carry_out
from ..thinning import resize
from .export import export
from .portable import describe, write_loader


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
        require((folder / name).is_file(), "folder", str(folder), f"a folder with {name}, as layers.save writes it")
    plan = Plan.load(folder / "plan.json")
    thin = resize(copy.deepcopy(model), plan.widths)
    small = carry_out(thin, plan, lambda _, method, layer, spec: method.shell(layer, spec))
    load_tensors(small, folder / "model.safetensors")
    return small
