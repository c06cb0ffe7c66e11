"""The metric in which a compressed layer is judged: how much the loss rises, not how much the weight moves.

With inputs x, C = E[x x^T], and gradients d of the loss at the outputs, G = sum over positions of E[d d^T], a change D
of a layer's weight raises the loss by about  1/2 tr(D^T G D C) = 1/2 |R^T D L|_F^2,  G = R R^T, C = L L^T:  the
second-order term with the Kronecker-factored Fisher information (Martens & Grosse 2015; Grosse & Martens 2016).
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..calibration.shrinkage import covariance, root, shrinkage, shrunk
from ..calibration.stats import LayerStats
from ..factored.scheme import Dense, Shape

DAMPING = 1e-5  # of the mean of the diagonal: singular moments stay invertible


def weight5(layer: Dense) -> Tensor:
    """The weight in float64 as (groups, outputs / groups, inputs / groups, height, width), without its history."""
    w = layer.weight.detach().double()
    return w[None, :, :, None, None] if w.ndim == 2 else w.unflatten(0, (layer.groups, -1))


class Metric(NamedTuple):
    """C in blocks (g, b, k / b, k / b), G (g, o, o), and the mean of x (g, k) where a bias can take it away."""

    inputs: Tensor
    outputs: Tensor
    mean: Tensor | None

    @classmethod
    def of(cls, layer: Dense, stats: LayerStats) -> "Metric":
        """C is that of x less its mean where the layer has a bias, which can make up for it exactly.

        Both are shrunk as far as the rows that calibration saw are few.
        """
        inputs, mean, outputs = (moment.to(layer.weight.device) for moment in stats[:3])
        if layer.bias is not None:
            inputs = covariance(inputs, mean.unflatten(1, (inputs.shape[1], -1)))
        inputs, outputs = (shrunk(moment, shrinkage(moment, stats.rows)) for moment in (inputs, outputs))
        return cls(inputs, outputs, None if layer.bias is None else mean)

    def right(self, change: Tensor) -> Tensor:
        """D C (g, o, k) of D (g, o, i, h, w)."""
        blocked = change.flatten(2).unflatten(2, (self.inputs.shape[1], -1)).transpose(1, 2)  # (g, b, o, k / b)
        return (blocked @ self.inputs).transpose(1, 2).flatten(2)

    def loss(self, change: Tensor) -> Tensor:
        """1/2 tr(D^T G D C), summed over groups, of D (g, o, i, h, w)."""
        return (self.outputs @ change.flatten(2) * self.right(change)).sum() / 2

    def distance(self, target: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        """(U (g, o, r), K (g, r, i, h, w)) -> the loss of D = target - U K, in r / o of the time for r below o.

        1/2 tr(G T C T^T) - tr(U^T G T C K^T) + 1/2 tr(U^T G U K C K^T): what depends on T alone is computed once.
        """
        right = self.right(target)
        both, whole = self.outputs @ right, (self.outputs @ target.flatten(2) * right).sum() / 2

        def loss(u: Tensor, k: Tensor) -> Tensor:
            rows = k.flatten(2)
            squares = u.mT @ self.outputs @ u * (rows @ self.right(k).mT)
            return whole - (u.mT @ both * rows).sum() + squares.sum() / 2

        return loss


class Whitening(NamedTuple):
    """W -> R^T W L, as a scheme's first and last factor can undo it.

    What the first factor sees decides L: patches if it works on both spatial axes, channels x height (or width) if on
    one, else channels; there C is the mean over the taps of the other axes.
    """

    left: Tensor  # R (g, o, o)
    right: Tensor  # L (g, b, n, n)
    first: Shape

    @classmethod
    def of(cls, layer: Dense, metric: Metric, first: Shape) -> "Whitening":
        """Of the layer's metric, for a scheme that begins with the factor `first`."""
        i, h, w = weight5(layer).shape[2:]
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


def compose(weights: Sequence[Tensor], groups: Sequence[int]) -> Tensor:
    """The weight (g, o, i, h, w) that factors with these groups stand for, in the order in which they are applied.

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
