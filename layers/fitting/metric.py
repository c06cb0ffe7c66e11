"""The metric in which a compressed layer is judged: how much the loss rises, not how much the weight moves.

With inputs x, C = E[x x^T], and gradients d of the loss at the outputs, G = sum over positions of E[d d^T], a change D
of a layer's weight raises the loss by about  1/2 tr(D^T G D C) = 1/2 |R^T D L|_F^2,  G = R R^T, C = L L^T:  the
second-order term with the Kronecker-factored Fisher information (Martens & Grosse 2015; Grosse & Martens 2016).  Where
calibration saw single images' gradients, the eigenvalues of G (x) C are corrected by them (George et al. 2018).
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from ..calibration import Eigen, LayerStats, covariance, root, shrinkage, shrunk, takes_mean
from ..network import Layer

LEAST = 1e-6  # of the mean eigenvalue
PRIOR = 10  # images
DAMPING = 1e-5  # of the mean of the diagonal: singular moments stay invertible
TINY = 1e-200  # below the mean square of any input or gradient
RIDGE = 1e-10  # of the mean power of K's rows: some of them may be alike


class Nearest(NamedTuple):
    """The best last factor U (g, o, r) to the others' product K, the loss that is left and its derivative by K."""

    factor: Tensor
    loss: Tensor
    slope: Tensor


@dataclass(frozen=True, eq=False)
class Metric:
    """C in blocks (g, b, k / b, k / b), G (g, o, o), and the mean of x (g, k) where a bias can take it away.

    Prepared once for a layer and handed to all kernels: the roots are computed when first asked for, and kept.
    """

    inputs: Tensor
    outputs: Tensor
    mean: Tensor | None
    eigen: Eigen | None = None

    @classmethod
    def of(cls, layer: Layer, stats: LayerStats) -> "Metric":
        """Prepare the moments of a layer; C is that of x less its mean where a bias or BatchNorm takes that exactly.

        Both are shrunk as far as the rows that calibration saw are few.  Where eigenvalues are known, they have the
        last word, and C and G are the two that come nearest to them.
        """
        inputs, mean, outputs = (moment.to(layer.weight.device) for moment in stats[:3])
        absorbed = takes_mean(layer, stats.norm)
        if absorbed:
            inputs = covariance(inputs, mean.unflatten(1, (inputs.shape[1], -1)))
        inputs, outputs = (shrunk(moment, shrinkage(moment, stats.rows)) for moment in (inputs, outputs))
        metric = cls(inputs, outputs, mean if absorbed else None)
        return metric if stats.eigen is None else metric._corrected(stats.eigen)

    def _corrected(self, eigen: Eigen) -> "Metric":
        """Return what lambda makes of C and G: U_C c U_C^T and U_G e U_G^T, e_i c_j nearest to it in logarithms.

        Of few images lambda says little: as if PRIOR more had shown what C and G foresee, but for its size.
        """
        left, right, values = (part.to(self.inputs) for part in eigen[:3])
        into = (right * (self.inputs @ right)).sum(-2).flatten(1)
        out = (left * (self.outputs @ left)).sum(-2)
        foreseen = out[:, :, None] * into[:, None, :]
        foreseen = foreseen * (values.mean() / foreseen.mean().clamp_min(torch.finfo(values.dtype).tiny))
        values = (eigen.images * values + PRIOR * foreseen) / (eigen.images + PRIOR)
        values = values.clamp_min(LEAST * float(values.mean()))
        logs = values.log()
        # G keeps its size: what C and G have of the product is what the factors that are fitted have of the weight
        size = out.mean(1).clamp_min(torch.finfo(values.dtype).tiny).log()[:, None]
        c = (logs.mean(1) - size).unflatten(1, (right.shape[1], -1)).exp()
        e = (logs.mean(2) - logs.mean((1, 2))[:, None] + size).exp()
        inputs, outputs = (right * c[..., None, :]) @ right.mT, (left * e[:, None, :]) @ left.mT
        return Metric(inputs, outputs, self.mean, eigen._replace(outputs=left, inputs=right, values=values))

    @cached_property
    def outputs_root(self) -> Tensor:
        """R (g, o, o) with R R^T = G."""
        return root(self.outputs, DAMPING)

    @cached_property
    def _inputs_roots(self) -> dict[tuple[int, ...], Tensor]:
        return {}

    def inputs_root(self, channels: int, height: int, width: int, owns: tuple[bool, bool]) -> Tensor:
        """L (g, b, n, n) with L L^T = C, over channels and the spatial axes that a factor owns: height, width.

        Where it owns one or none, C is the mean over the taps of the others.
        """
        key = (height, width, *owns)
        if key not in self._inputs_roots:
            b = self.inputs.shape[1]
            split = (channels // b, height, width)
            c = self.inputs.view(len(self.inputs), b, *split, *split)
            own = "".join(axis for axis, owned in zip("hw", owns) if owned)
            other = "".join(axis.upper() if axis in own else axis for axis in "hw")  # one letter twice: the trace
            c = torch.einsum(f"gbihwj{other}->gbi{own}j{own.upper()}", c)
            n = c.shape[2 : 3 + len(own)].numel()
            traced = height * width * (channels // b) // n
            self._inputs_roots[key] = root(c.reshape(*c.shape[:2], n, n) / traced, DAMPING)
        return self._inputs_roots[key]

    def right(self, change: Tensor) -> Tensor:
        """D C (g, o, k) of D (g, o, i, h, w)."""
        return _times(change, self.inputs)

    def loss(self, change: Tensor) -> Tensor:
        """1/2 sum of lambda_ij (u_i^T D v_j)^2 of D (g, o, i, h, w), or `fitted` where lambda is not known."""
        if self.eigen is None:
            return self.fitted(change)
        left, right, values, _ = self.eigen
        blocked = (left.mT @ change.flatten(2)).unflatten(2, (right.shape[1], -1)).transpose(1, 2)
        return (values * (blocked @ right).transpose(1, 2).flatten(2).square()).sum() / 2

    def fitted(self, change: Tensor) -> Tensor:
        """1/2 tr(D^T G D C), summed over groups, of D (g, o, i, h, w): what factors are fitted to."""
        return (self.outputs @ change.flatten(2) * self.right(change)).sum() / 2

    def nearest(self, target: Tensor, single: bool = False) -> Callable[[Tensor], Nearest]:
        """K (g, r, i, h, w) -> the U (g, o, r) for which D = target - U K loses least, that loss and its slope in K.

        U = T C K^T (K C K^T)^-1, whatever G is; where U is the best its own derivative is zero, so that the slope is
        that of U kept fixed (variable projection: Golub & Pereyra 1973).  What depends on T alone is computed once, and
        each K is multiplied by C once, for loss and slope.  single: the large products in float32, of C and G in units
        of their mean diagonals, which may be anything.
        """
        c, g = (moment.diagonal(dim1=-2, dim2=-1).mean().clamp_min(TINY) for moment in (self.inputs, self.outputs))
        inputs, outputs, unit = self.inputs / c, self.outputs / g, c * g
        right = _times(target, inputs)
        both, whole = outputs @ right, (outputs @ target.flatten(2) * right).sum() / 2
        damping = RIDGE
        if single:
            inputs, outputs, right, both = (part.float() for part in (inputs, outputs, right, both))
            damping = 1e-6  # float32 errs by 1e-7

        def solve(k: Tensor) -> Nearest:
            rows = k.flatten(2).to(right.dtype)
            turned = _times(rows, inputs)
            gram = (rows @ turned.mT).double()
            u = torch.cholesky_solve((rows @ right.mT).double(), root(gram, damping)).mT
            left = u.to(rows.dtype)
            squares, cross = left.mT @ outputs @ left, left.mT @ both
            loss = whole - (cross * rows).sum(dtype=torch.float64) + (squares * gram).sum(dtype=torch.float64) / 2
            slope = (squares @ turned - cross).reshape(k.shape).to(k.dtype)
            return Nearest(u.to(k.dtype), unit * loss, unit * slope)

        return solve


def _times(change: Tensor, inputs: Tensor) -> Tensor:
    """D C (g, o, k) of D (g, o, i, h, w) or (g, o, k), and C in blocks (g, b, k / b, k / b)."""
    blocked = change.flatten(2).unflatten(2, (inputs.shape[1], -1)).transpose(1, 2)  # (g, b, o, k / b)
    return (blocked @ inputs).transpose(1, 2).flatten(2)
