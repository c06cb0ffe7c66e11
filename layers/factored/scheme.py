"""What a low-rank scheme says of itself, and what all schemes ask of a layer."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ..network import Layer, is_plain
from .specs import Candidate, Limits, Spec


class Shape(NamedTuple):
    """One factor: channels in and out, and which of the convolution's two spatial axes it works on."""

    inputs: int
    outputs: int
    height: bool = False
    width: bool = False
    groups: int = 1


class Scheme(Protocol):
    """What a file such as tucker.py says about a decomposition; its module, or a NamedTuple of its variant, is one."""

    def refusal(self, layer: nn.Module) -> str | None:
        """Why the layer cannot take this scheme, or None."""

    def limits(self, layer: Layer) -> Limits:
        """What `spec` may be."""

    def candidates(self, layer: Layer, multiple: int = 1) -> list[Candidate]:
        """From the smallest to full rank, ranks being multiples of `multiple` or full."""

    def sides(self, layer: Layer) -> list[Tensor]:
        """The matricisations (groups, m, n) whose ranks make a spec."""

    def at_ranks(self, layer: Layer, ranks: Sequence[int]) -> Spec:
        """The spec for these ranks of the `sides`."""

    def shapes(self, layer: Layer, spec: Spec) -> list[Shape]:
        """The factors, in the order in which they are applied."""

    def weights(self, layer: Layer, spec: Spec) -> list[Tensor]:
        """The factors' weights, each in the order of axes of its own layer's weight."""


def matrix_refusal(layer: nn.Module, spatial: bool) -> str | None:
    """Why a layer has not three modes (four, if `spatial`) to take apart: outputs, inputs, kernel (height, width)."""
    if is_plain(layer, nn.Linear):
        return "a Linear layer is a matrix, which svd decomposes"
    if not isinstance(layer, nn.Conv2d) or not is_plain(layer, nn.Conv2d):
        return f"{type(layer).__name__} is not a plain Conv2d"
    height, width = layer.kernel_size
    if height == width == 1:
        return "a 1x1 kernel is a matrix, which svd decomposes"
    if layer.in_channels == layer.groups:
        return "a filter has one input channel (depthwise), so there is no more to take apart than svd and spatial do"
    if spatial and 1 in layer.kernel_size:
        return f"a {height}x{width} kernel has no two spatial axes to separate"
    return None


def grouped(layer: Layer) -> Tensor:
    """The weight as (groups, outputs / groups, inputs / groups, height, width), without its history."""
    assert isinstance(layer, nn.Conv2d)
    return layer.weight.detach().unflatten(0, (layer.groups, -1))


def balanced(weights: Sequence[Tensor]) -> list[Tensor]:
    """The same product with factors of the same norm, so that gradients reach them at the same scale."""
    norms = torch.stack([torch.linalg.vector_norm(w, dtype=torch.float64) for w in weights])
    mean = norms.prod() ** (1 / len(weights))
    if not mean > 0:
        return list(weights)
    return [w * (mean / norm).to(w.dtype) for w, norm in zip(weights, norms)]
