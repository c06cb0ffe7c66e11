"""Frequency layers in the place of the dense ones of any model, to be trained from scratch."""

from typing import Any

from torch import nn
from torch.nn.modules.utils import _pair

from checks import need

from .frequency import FrequencyConv2d, FrequencyLinear
from .surgery import replace

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
    """The model with every Linear and Conv2d, or one kind of them, swapped for a fresh frequency layer.

    Use the return value.  What a real model knows of the dft is the Hartley transform, Re - Im of it: linear, signed,
    orthonormal and of full rank, where Re alone has f and n - f coincide and the magnitude drops the sign of the
    logits; and it folds to a plain layer.  The real form of complex_shannon is shannon.
    """
    need(layers in SCOPES, "layers", layers, f"one of {', '.join(SCOPES)}")
    name = IN_REAL_MODELS.get(kernel, kernel)

    def rule(_: str, module: nn.Module) -> nn.Module | None:
        if type(module) in SCOPES[layers] and isinstance(module, nn.Linear):
            return linear_like(module, name)
        return conv_like(module, name) if type(module) in SCOPES[layers] and isinstance(module, nn.Conv2d) else None

    return replace(model, rule)
