"""What `save` adds so that the result runs elsewhere: a loader without us, a program without the model."""

import copy
import math
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import stage3_torch
from contract import leaves

from .coded import is_coded
from .plan import Plan
from .transform import Transform

# Numbers (a, b, c, d) that make an orthonormal matrix of rows cos(pi (c (k + a) (j + b) / n + d)), each divided by its
# norm: the loader then needs no table for a long axis, which would be larger than the weight.
COSINES = {"dct": (0.0, 0.5, 1.0, 0.0), "dst": (1.0, 0.5, 1.0, -0.5), "dht": (0.0, 0.0, 2.0, -0.25)}

CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
LINEAR = ("in_features", "out_features")


def _arguments(layer: nn.Module) -> tuple[str, dict[str, Any]]:
    """The name of a plain layer's class and what its constructor was given."""
    names = {nn.Conv2d: CONV, nn.Linear: LINEAR}[type(layer)]
    arguments = {name: getattr(layer, name) for name in names}
    return type(layer).__name__, {**arguments, "bias": layer.bias is not None}


def _basis(transform: Transform, n: int) -> Any:
    """The transform of n samples: its cosines if it is made of them, or the rows of its matrix."""
    name = transform.kernel.encode
    if name in COSINES and not transform.spec:
        a, b, c, d = COSINES[name]
        return a, b, math.pi * c / n, math.pi * d
    code = getattr(stage3_torch, name)(torch.eye(n, dtype=torch.float64), axis=0, **transform.spec)
    return torch.cat(leaves(code)).tolist()


def describe(small: nn.Module, plan: Plan) -> dict[str, Any]:
    """Layer name -> what loader.py puts there: plain layers in a row, or the bases that decode a weight."""
    found: dict[str, Any] = {}
    for name in (row.name for row in plan.layers if row.kernel is not None):
        module: Any = small.get_submodule(name)
        if isinstance(module, nn.Sequential):
            found[name] = "layers", [_arguments(layer) for layer in module]
        else:
            transform = module.parametrizations.weight[0]
            found[name] = "bases", [(axis, _basis(transform, transform.shape[axis])) for axis in transform.axes[::-1]]
    return found


def write_loader(folder: Path) -> None:
    """loader.py, a copy of the file beside this one."""
    shutil.copyfile(Path(__file__).with_name("loader.py"), folder / "loader.py")


def _folded(small: nn.Module) -> nn.Module:
    """A copy with plain layers.  Not `fold`, which removes the property from a class that copies share."""
    model = copy.deepcopy(small)
    modules: list[Any] = list(model.modules())
    for module in modules:
        if is_coded(module):
            weight = module.weight.detach().contiguous()
            module.__class__ = type(module).__mro__[1]
            del module._modules["parametrizations"]
            module.weight = nn.Parameter(weight)
    return model


def write_program(small: nn.Module, example: Tensor, path: Path) -> None:
    """The network in eval mode as a torch.export program for any batch size; coded weights are decoded in it."""
    model = _folded(small).eval()
    batch = torch.cat([example, example]) if len(example) == 1 else example  # a batch of one would be a constant
    program = torch.export.export(model, (batch,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(program, path)
