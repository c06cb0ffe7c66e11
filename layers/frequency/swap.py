"""Frequency layers in the place of the dense ones of any model, to be trained from scratch, saved and loaded."""

import os
from pathlib import Path
from typing import Any

import safetensors
from torch import nn
from torch.nn.modules.utils import _pair

from checks import require

from ..network import copy_of, load_tensors, replace, write_tensors
from .modules import FrequencyConv2d, FrequencyLinear

IN_REAL_MODELS = {"dft": "dht", "complex_shannon": "shannon"}
SCOPES = {"all": (nn.Linear, nn.Conv2d), "linear": (nn.Linear,), "conv": (nn.Conv2d,)}


def linear_like(layer: nn.Linear, kernel: str) -> FrequencyLinear:
    """A fresh frequency layer of the same sizes, dtype and device."""
    like, bias = layer.weight, layer.bias is not None
    return FrequencyLinear(
        layer.in_features, layer.out_features, bias, kernel=kernel, device=like.device, dtype=like.dtype
    )


def conv_like(layer: nn.Conv2d, kernel: str) -> FrequencyConv2d:
    """A fresh frequency layer of the same geometry, dtype and device."""
    height, width = layer.kernel_size
    padding: Any = layer.padding
    return FrequencyConv2d(
        layer.in_channels,
        layer.out_channels,
        (height, width),
        _pair(layer.stride),
        padding,
        _pair(layer.dilation),
        layer.groups,
        layer.bias is not None,
        layer.padding_mode,
        kernel=kernel,
        device=layer.weight.device,
        dtype=layer.weight.dtype,
    )


def frequency_layers(model: nn.Module, kernel: str, layers: str = "all") -> nn.Module:
    """Swap every Linear and Conv2d of the model, or one kind of them, for a fresh frequency layer, in place.

    What a real model knows of the dft is the Hartley transform, Re - Im of it: linear, signed, orthonormal and of full
    rank, where Re alone has f and n - f coincide and the magnitude drops the sign of the logits; and it folds to a
    plain layer.  The real form of complex_shannon is shannon.

    Args:
        model: any network, to be trained from scratch afterwards.
        kernel: dct, dst, dht, shannon, dft or complex_shannon.
        layers: all, linear or conv.

    Returns:
        The network: use it, for the root itself may be swapped.

    Raises:
        ValueError: for an unknown kernel or kind of layers, and for a model that has none of these.

    Example:
        >>> frequency_layers(nn.Sequential(nn.Linear(4, 3)), "dft")[0].kernel
        'dht'
    """
    require(layers in SCOPES, "layers", layers, f"one of {', '.join(SCOPES)}")
    present = any(type(module) in SCOPES[layers] for module in model.modules())
    require(present, "layers", layers, f"of a kind that the model has, which {type(model).__name__} has not")
    name = IN_REAL_MODELS.get(kernel, kernel)

    def rule(_: str, module: nn.Module) -> nn.Module | None:
        if type(module) in SCOPES[layers] and isinstance(module, nn.Linear):
            return linear_like(module, name)
        return conv_like(module, name) if type(module) in SCOPES[layers] and isinstance(module, nn.Conv2d) else None

    return replace(model, rule)


def save_frequency_layers(model: nn.Module, kernel: str, layers: str, path: str | os.PathLike[str]) -> None:
    """Write what `frequency_layers(_, kernel, layers)` made, trained, as one whole safetensors file that names both."""
    write_tensors(model, path, {"kernel": kernel, "layers": layers})


def load_frequency_layers(path: str | os.PathLike[str], model: nn.Module) -> nn.Module:
    """Load the network from what `save_frequency_layers` wrote; nothing is unpickled.

    Args:
        path: the file.
        model: a fresh dense instance of the network, which is left as it is.

    Returns:
        The network of frequency layers.

    Raises:
        ValueError: names what is missing, corrupt or does not fit.

    Example:
        >>> import tempfile
        >>> net = frequency_layers(nn.Sequential(nn.Linear(4, 3)), "dct")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_frequency_layers(net, "dct", "all", f"{folder}/net.safetensors")
        ...     load_frequency_layers(f"{folder}/net.safetensors", nn.Sequential(nn.Linear(4, 3)))[0].kernel
        'dct'
    """
    require(Path(path).is_file(), "path", str(path), "a file, as save_frequency_layers writes it")
    try:
        with safetensors.safe_open(str(path), "pt") as file:
            facts = file.metadata() or {}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} must be a whole safetensors file, got one that cannot be read ({error})") from None
    require({"kernel", "layers"} <= facts.keys(), str(path), facts, "a file that names the kernel and the layers")
    net = frequency_layers(copy_of(model), facts["kernel"], facts["layers"])
    load_tensors(net, path)
    return net
