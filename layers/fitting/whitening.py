"""The change of basis in which the predicted loss is a Frobenius norm."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..factored import Shape, grouped_weight
from ..network import Layer
from .metric import Metric


class Whitening(NamedTuple):
    """W -> R^T W L: the change of basis in which the predicted loss is a Frobenius norm.

    L covers only the axes that the first factor reads, so the outer factors absorb its inverse: patches if that works
    on both spatial axes, channels x height (or width) if on one, else channels.
    """

    left: Tensor  # R (g, o, o)
    right: Tensor  # L (g, b, n, n)
    first: Shape

    @classmethod
    def of(cls, layer: Layer, metric: Metric, first: Shape) -> "Whitening":
        """Whiten a layer by its metric for a scheme that begins with the factor `first`."""
        _, _, channels, height, width = grouped_weight(layer).shape
        owns = (first.height, first.width)
        return cls(metric.outputs_root, metric.inputs_root(channels, height, width, owns), first)

    def apply(self, w: Tensor) -> Tensor:
        """R^T W L of W (g, o, i, h, w)."""
        axes = [axis for axis, own in ((3, self.first.height), (4, self.first.width)) if own]
        order = [0, 1, *({3, 4} - set(axes)), 2, *axes]  # what L acts on comes last
        rows = w.permute(order)
        flat = rows.flatten(1, -2 - len(axes)).flatten(2).unflatten(2, (self.right.shape[1], -1))
        turned = torch.einsum("gxbk,gbkl->gxbl", flat, self.right).reshape(rows.shape)
        back = turned.permute([order.index(axis) for axis in range(5)])
        return torch.einsum("gop,goihw->gpihw", self.left, back)

    def do(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """Return the factors of R^T W L from those of W: the first and the last change."""
        first, *middle, last = weights
        g, b = self.right.shape[:2]
        rows = first.unflatten(0, (g, -1)).flatten(2).unflatten(2, (b, -1)).transpose(1, 2) @ self.right
        columns = self.left.mT @ last.unflatten(0, (g, -1)).flatten(2)
        return [rows.transpose(1, 2).reshape(first.shape), *middle, columns.reshape(last.shape)]

    def undo(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """Return the factors of W from those of R^T W L."""
        first, *middle, last = weights
        columns = torch.linalg.solve_triangular(
            self.left.mT, last.unflatten(0, (len(self.left), -1)).flatten(2), upper=True
        )
        return [self.undo_first(first), *middle, columns.reshape(last.shape)]

    def undo_first(self, first: Tensor) -> Tensor:
        """Return the first factor of W from that of R^T W L.  Differentiable."""
        g, b = self.right.shape[:2]
        rows = first.unflatten(0, (g, -1)).flatten(2).unflatten(2, (b, -1)).transpose(1, 2)  # (g, b, r, n)
        rows = torch.linalg.solve_triangular(self.right, rows, upper=False, left=False)
        return rows.transpose(1, 2).reshape(first.shape)
