"""A layer as a sequence of smaller standard layers: what all low-rank schemes have in common.

A scheme says which layers follow each other (`Shape`s) and what their weights are; this file builds the nn.Sequential,
on any device, with or without the weights.  All that a convolution can be asked (stride, padding, its mode, dilation,
groups) goes to the factor that owns the axis, so the sequence equals the dense layer wherever the weights do.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ..costs import Call, Cost
from ..network import Layer
from .compose import grouped
from .scheme import Shape


def _factor(layer: Layer, shape: Shape, bias: bool) -> nn.Module:
    device, dtype = layer.weight.device, layer.weight.dtype
    if isinstance(layer, nn.Linear):
        return nn.Linear(shape.inputs, shape.outputs, bias, device=device, dtype=dtype)
    owns = (shape.height, shape.width)
    padding = layer.padding

    def part(values: Sequence[int], neutral: int) -> tuple[int, int]:
        height, width = (value if own else neutral for value, own in zip(values, owns))
        return height, width

    kind: Any = nn.Conv2d
    if isinstance(layer, nn.ConvTranspose2d) and any(owns):
        kind = partial(nn.ConvTranspose2d, output_padding=part(layer.output_padding, 0))
    factor: nn.Module = kind(
        shape.inputs,
        shape.outputs,
        part(layer.kernel_size, 1),
        part(layer.stride, 1),
        # 'same' pads each axis by its own kernel size, so a factor of size 1 is given nothing by it
        padding if isinstance(padding, str) else part(padding, 0),
        dilation=part(layer.dilation, 1),
        groups=shape.groups,
        bias=bias,
        padding_mode=layer.padding_mode if any(owns) else "zeros",
        device=device,
        dtype=dtype,
    )
    return factor


def weight_shapes(layer: Layer, shapes: Sequence[Shape]) -> list[tuple[int, ...]]:
    """Return the shapes of the factors' weights, in the order of a convolution's axes."""
    if isinstance(layer, nn.Linear):
        return [(s.outputs, s.inputs) for s in shapes]
    h, w = layer.kernel_size
    return [(s.outputs, s.inputs // s.groups, h if s.height else 1, w if s.width else 1) for s in shapes]


def sequence_cost(layer: Layer, shapes: Sequence[Shape], calls: Sequence[Call]) -> Cost:
    """Count what the sequence costs for these calls of the dense layer, without building it.

    A factor that works on an axis takes its feature map from the dense layer's input size to its output size there.
    The factors of a transposed convolution multiply at each position of the input.
    """
    owned = [(s.height, s.width) for s in shapes]
    weights = [math.prod(shape) for shape in weight_shapes(layer, shapes)]
    macs = 0
    for call in calls:
        if isinstance(layer, nn.Linear):
            macs += call.output.numel() // layer.out_features * sum(weights)
            continue
        if isinstance(layer, nn.ConvTranspose2d):
            macs += call.input.numel() // layer.in_channels * sum(weights)
            continue
        size = list(call.input[-2:])
        for weight, owns in zip(weights, owned):
            size = [after if own else now for now, after, own in zip(size, call.output[-2:], owns)]
            macs += call.output[:-3].numel() * math.prod(size) * weight
    params = sum(weights) + (0 if layer.bias is None else layer.bias.numel())
    return Cost(params, macs, params * layer.weight.element_size())


def shell(layer: Layer, shapes: Sequence[Shape]) -> nn.Sequential:
    """Build the sequence with unset weights; the bias belongs to the last factor."""
    last = len(shapes) - 1
    factors = nn.Sequential(*(_factor(layer, s, i == last and layer.bias is not None) for i, s in enumerate(shapes)))
    for name, parameter in factors.named_parameters():
        like = layer.bias if name.endswith("bias") else layer.weight
        parameter.requires_grad_(like is not None and like.requires_grad)
    w = layer.weight
    if w.ndim == 4 and w.is_contiguous(memory_format=torch.channels_last) and not w.is_contiguous():
        # the dense layer runs in channels_last; a contiguous factor would turn every feature map around
        factors.to(memory_format=torch.channels_last)
    return factors.train(layer.training)


def set_weights(factors: nn.Sequential, weights: Sequence[Tensor], bias: Tensor | None) -> nn.Sequential:
    """Copy the weights, reshaped to the factors' own, and the dense layer's bias into a shell."""
    with torch.no_grad():
        for factor, weight in zip(factors, weights):
            assert isinstance(factor, Layer)
            if isinstance(factor, nn.ConvTranspose2d):
                weight = weight.reshape(grouped(factor).shape).transpose(1, 2)  # as torch keeps it
            factor.weight.copy_(weight.reshape(factor.weight.shape))
            if factor.bias is not None and bias is not None:
                factor.bias.copy_(bias)
    return factors
