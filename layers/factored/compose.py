"""The weight of a layer in five axes, and the one that factors stand for."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..network import Layer


def grouped(layer: Layer) -> Tensor:
    """Return the weight as (groups, outputs / groups, inputs / groups, height, width), detached from autograd."""
    w = layer.weight.detach()
    if isinstance(layer, nn.Linear):
        return w[None, :, :, None, None]
    w = w.unflatten(0, (layer.groups, -1))
    return w.transpose(1, 2) if isinstance(layer, nn.ConvTranspose2d) else w  # torch keeps (inputs, outputs / groups)


def grouped_weight(layer: Layer) -> Tensor:
    """Return `grouped` in float64."""
    return grouped(layer).double()


def compose(weights: Sequence[Tensor], groups: Sequence[int]) -> Tensor:
    """Multiply factors with these groups, in the order in which they are applied, to one weight (g, o, i, h, w).

    Each spatial axis is worked on by one factor and has length 1 in the others.  Differentiable.
    """
    outer = groups[-1]
    *others, product = (w.unflatten(0, (outer, -1)).reshape(outer, -1, *(*w.shape[1:], 1, 1)[:3]) for w in weights)
    for weight, inner in zip(reversed(others), reversed(groups[:-1])):
        if inner > outer:  # depthwise: one filter per channel
            product = product * weight.transpose(1, 2)
        else:
            product = torch.einsum("gorhw,grihw->goihw", product, weight)
    return product
