"""A layer as a sequence of smaller standard layers: what all low-rank schemes have in common.

A scheme says which layers follow each other (`Shape`s) and what their weights are; this file builds the nn.Sequential,
on any device, with or without the weights.  All that a convolution can be asked (stride, padding, its mode, dilation,
groups) goes to the factor that owns the axis, so the sequence equals the dense layer wherever the weights do.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

Dense = nn.Conv2d | nn.Linear  # what can be factored


class Shape(NamedTuple):
    """One factor: channels in and out, and which of the convolution's two spatial axes it works on."""

    inputs: int
    outputs: int
    height: bool = False
    width: bool = False
    groups: int = 1


def _factor(layer: Dense, shape: Shape, bias: bool, device: torch.device | str) -> nn.Module:
    dtype = layer.weight.dtype
    if isinstance(layer, nn.Linear):
        return nn.Linear(shape.inputs, shape.outputs, bias, device=device, dtype=dtype)
    owns = (shape.height, shape.width)
    padding = layer.padding

    def part(values: Sequence[int], neutral: int) -> tuple[int, int]:
        height, width = (value if own else neutral for value, own in zip(values, owns))
        return height, width

    return nn.Conv2d(
        shape.inputs,
        shape.outputs,
        part(layer.kernel_size, 1),
        part(layer.stride, 1),
        # 'same' pads each axis by its own kernel size, so a factor of size 1 is given nothing by it
        padding if isinstance(padding, str) else part(padding, 0),
        part(layer.dilation, 1),
        shape.groups,
        bias,
        layer.padding_mode if any(owns) else "zeros",
        device=device,
        dtype=dtype,
    )


def shell(layer: Dense, shapes: Sequence[Shape], device: torch.device | str | None = None) -> nn.Sequential:
    """The sequence with unset weights; the bias belongs to the last factor.  device="meta" costs no memory."""
    device = layer.weight.device if device is None else device
    last = len(shapes) - 1
    factors = nn.Sequential(
        *(_factor(layer, s, i == last and layer.bias is not None, device) for i, s in enumerate(shapes))
    )
    for parameter in factors.parameters():
        parameter.requires_grad_(layer.weight.requires_grad)
    return factors.train(layer.training)


def fill(factors: nn.Sequential, weights: Sequence[Tensor], bias: Tensor | None) -> nn.Sequential:
    """Copy the weights, reshaped to the factors' own, and the dense layer's bias into a shell."""
    with torch.no_grad():
        for factor, weight in zip(factors, weights):
            assert isinstance(factor, Dense)
            factor.weight.copy_(weight.reshape(factor.weight.shape))
            if factor.bias is not None and bias is not None:
                factor.bias.copy_(bias)
    return factors
