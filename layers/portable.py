"""What `save` adds so that the result runs where we are not: a loader that needs torch and safetensors only."""

import math
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .plan import Plan
from .spectrum import analyse
from .transform import Transform
from .transform_linear import TransformLinear

# Numbers (a, b, c, d) that make an orthonormal matrix of rows cos(pi (c (k + a) (j + b) / n + d)), each divided by its
# norm: the loader then needs no table for a long axis, which would be larger than the weight.
COSINES = {"dct": (0.0, 0.5, 1.0, 0.0), "dst": (1.0, 0.5, 1.0, -0.5), "dht": (0.0, 0.0, 2.0, -0.25)}

CONV = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "padding_mode")
LINEAR = ("in_features", "out_features")
LONGEST_MATRIX = 64  # samples; the matrix of a longer axis would outgrow the coefficients it decodes
CODE = "parametrizations.weight"  # where torch keeps the code of a coded layer


def _arguments(layer: nn.Module) -> tuple[str, dict[str, Any]]:
    """The name of a plain layer's class and what its constructor was given."""
    names = {nn.Conv2d: CONV, nn.Linear: LINEAR}[type(layer)]
    arguments = {name: getattr(layer, name) for name in names}
    return type(layer).__name__, {**arguments, "bias": layer.bias is not None}


def _basis(transform: Transform, n: int) -> Any:
    """The transform of n samples: its cosines if it is made of them, or the rows of its matrix."""
    if transform.name in COSINES:
        a, b, c, d = COSINES[transform.name]
        return a, b, math.pi * c / n, math.pi * d
    identity = torch.eye(n, dtype=torch.float64)
    return analyse(identity, transform.name, 0, transform.wavelet, transform.levels).tolist()


def describe(small: nn.Module, plan: Plan) -> dict[str, Any]:
    """Layer name -> what loader.py puts there: plain layers in a row, or the bases that decode a weight."""
    found: dict[str, Any] = {}
    for name in (row.name for row in plan.layers if row.kernel is not None):
        module: Any = small.get_submodule(name)
        if isinstance(module, nn.Sequential):
            found[name] = "layers", [_arguments(layer) for layer in module], ()
            continue
        linear = isinstance(module, TransformLinear)
        transform = module.transform if linear else module.parametrizations.weight[0]
        keys = ("values", "transform.mask") if linear else (f"{CODE}.original0", f"{CODE}.0.mask")
        longest = max(transform.shape[axis] for axis in transform.axes)
        if transform.name not in COSINES and longest > LONGEST_MATRIX:
            # the loader's error quotes this in place of a kind
            found[name] = f"{transform.name} along {longest} samples, which layers.load alone decodes", [], ()
            continue
        bases = [(axis, _basis(transform, transform.shape[axis])) for axis in transform.axes[::-1]]
        found[name] = "bases", bases, keys
    return found


def write_loader(folder: Path) -> None:
    """loader.py, a copy of the file beside this one."""
    shutil.copyfile(Path(__file__).with_name("loader.py"), folder / "loader.py")
