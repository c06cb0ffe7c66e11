"""A convolution or Linear layer as two smaller ones, by a truncated SVD of its weight, matricised in one of two ways.

channel  rows = outputs, columns = inputs x height x width:  k x k to r channels, then 1 x 1 (Denton et al. 2014; Zhang
         et al. 2016).  Linear and 1 x 1: two of the same.
spatial  rows = inputs x height, columns = outputs x width:  k x 1 to r channels, then 1 x k (Jaderberg et al. 2014,
         scheme 2).

Groups are decomposed one by one, all to the same rank.  Both factors carry the square root of the singular values, so
that gradients reach them at the same scale.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from stage3_torch import svd

from .factored import Dense, Shape, fill, shell


class Scheme(NamedTuple):
    """One matricisation: groups of matrices from a weight, and the two factors' shapes and weights back from them."""

    spatial: bool

    def refusal(self, layer: nn.Module) -> str | None:
        """Why the layer cannot take this scheme, or None."""
        if isinstance(layer, nn.Linear) and not self.spatial:
            return None
        if not isinstance(layer, nn.Conv2d):
            return f"{type(layer).__name__} has no {'height and width' if self.spatial else 'SVD scheme'}"
        if self.spatial and 1 in layer.kernel_size:
            return f"a {layer.kernel_size[0]}x{layer.kernel_size[1]} kernel has no two spatial axes to separate"
        return None

    def matrices(self, layer: Dense) -> Tensor:
        """The weight as (groups, rows, columns)."""
        w = layer.weight.detach()
        if isinstance(layer, nn.Linear):
            return w[None]
        o, i, h, k = w.shape
        w = w.reshape(layer.groups, o // layer.groups, i, h, k)
        return w.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2) if self.spatial else w.flatten(2)

    def shapes(self, layer: Dense, rank: int) -> list[Shape]:
        """The two factors, in the order in which they are applied."""
        if isinstance(layer, nn.Linear):
            return [Shape(layer.in_features, rank), Shape(rank, layer.out_features)]
        g = layer.groups
        first = Shape(layer.in_channels, g * rank, height=True, width=not self.spatial, groups=g)
        return [first, Shape(g * rank, layer.out_channels, width=self.spatial, groups=g)]

    def build(self, layer: Dense, rank: int) -> nn.Sequential:
        """The factors of the best approximation of the weight of this rank, in the weight's own norm."""
        factors = shell(layer, self.shapes(layer, rank))
        u, s, vt = svd(self.matrices(layer), rank)
        left, right = u * s.sqrt()[:, None, :], s.sqrt()[:, :, None] * vt  # (g, rows, r), (g, r, columns)
        if not self.spatial:
            return fill(factors, [right, left], layer.bias)
        right = right.unflatten(2, (-1, layer.weight.shape[-1])).transpose(1, 2)  # (g, outputs, r, width)
        return fill(factors, [left.transpose(1, 2), right], layer.bias)

    def energies(self, layer: Dense) -> Tensor:
        """Kept part of |W|^2 at rank 1, 2, ..., full, in float64."""
        squares = torch.linalg.svdvals(self.matrices(layer).double()).square().sum(0)
        return squares.cumsum(0) / squares.sum().clamp_min(torch.finfo(torch.float64).tiny)


CHANNEL, SPATIAL = Scheme(spatial=False), Scheme(spatial=True)
