"""The change of basis in which the predicted loss is a Frobenius norm."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..calibration import root
from ..factored import Shape, grouped_weight
from ..network import Layer
from .metric import Metric

DAMPING = 1e-5  # of the mean of the diagonal: singular moments stay invertible


class Whitening(NamedTuple):
    """W -> R^T W L, as a scheme's first and last factor can undo it.

    What the first factor sees decides L: patches if it works on both spatial axes, channels x height (or width) if on
    one, else channels; there C is the mean over the taps of the other axes.
    """

    left: Tensor  # R (g, o, o)
    right: Tensor  # L (g, b, n, n)
    first: Shape

    @classmethod
    def of(cls, layer: Layer, metric: Metric, first: Shape) -> "Whitening":
        """Of the layer's metric, for a scheme that begins with the factor `first`."""
        i, h, w = grouped_weight(layer).shape[2:]
        g, b, c = len(metric.inputs), metric.inputs.shape[1], metric.inputs
        owned = ("h" if first.height else "") + ("w" if first.width else "")
        other = "".join(axis.upper() if axis in owned else axis for axis in "hw")  # one letter twice: the trace
        c = torch.einsum(f"gbihwj{other}->gbi{owned}j{owned.upper()}", c.view(g, b, i // b, h, w, i // b, h, w))
        n = math.prod(c.shape[2 : 3 + len(owned)])
        traced = h * w * (i // b) // n
        return cls(root(metric.outputs, DAMPING), root(c.reshape(g, b, n, n) / traced, DAMPING), first)

    def apply(self, w: Tensor) -> Tensor:
        """R^T W L of W (g, o, i, h, w)."""
        axes = [axis for axis, own in ((3, self.first.height), (4, self.first.width)) if own]
        order = [0, 1, *({3, 4} - set(axes)), 2, *axes]  # what L acts on comes last
        seen = w.permute(order)
        flat = seen.flatten(1, -2 - len(axes)).flatten(2).unflatten(2, (self.right.shape[1], -1))
        turned = torch.einsum("gxbk,gbkl->gxbl", flat, self.right).reshape(seen.shape)
        back = turned.permute([order.index(axis) for axis in range(5)])
        return torch.einsum("gop,goihw->gpihw", self.left, back)

    def do(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """The factors of R^T W L from those of W; the first and the last, (channels out, channels in, ...), change."""
        first, *middle, last = weights
        g, b = self.right.shape[:2]
        rows = first.unflatten(0, (g, -1)).flatten(2).unflatten(2, (b, -1)).transpose(1, 2) @ self.right
        columns = self.left.mT @ last.unflatten(0, (g, -1)).flatten(2)
        return [rows.transpose(1, 2).reshape(first.shape), *middle, columns.reshape(last.shape)]

    def undo(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """The factors of W from those of R^T W L.  Differentiable."""
        first, *middle, last = weights
        g, b = self.right.shape[:2]
        rows = first.unflatten(0, (g, -1)).flatten(2).unflatten(2, (b, -1)).transpose(1, 2)  # (g, b, r, n)
        rows = torch.linalg.solve_triangular(self.right, rows, upper=False, left=False)
        columns = torch.linalg.solve_triangular(self.left.mT, last.unflatten(0, (g, -1)).flatten(2), upper=True)
        return [rows.transpose(1, 2).reshape(first.shape), *middle, columns.reshape(last.shape)]
