"""Eigenvalues of the Fisher information of a layer, measured in the eigenvectors of its Kronecker factors.

G (x) C takes the gradients of an image at different positions for independent.  They are not: a change that is alike at
all positions adds up in the pooling after it, and on networks for many small classes the rise of the loss is then
several times what G and C foresee.  With U_G and U_C their eigenvectors, and g_n the gradient of image n for the
weight, lambda_ij = E[(u_i^T g_n v_j)^2] is right in every direction u_i v_j^T (George et al. 2018, EKFAC, section 3).
The images of lambda must not be those of the eigenvectors, which fit their own.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ..network import Layer, with_batch
from .moments import outputs_of, patches
from .shrinkage import covariance
from .stats import LayerStats, takes_mean

WIDE = 512  # rows of a moment from which on its eigenvectors are computed in the precision of the weight
MOST_ROWS = 4608  # of a moment that is decomposed or inverted, which takes minutes and gigabytes beyond
NUMBERS = 2**20  # of patches and gradients that are worked on at once: 4 MiB, which a cache holds


class Basis(NamedTuple):
    """U_G (g, o, o), U_C (g, b, n, n), and the mean (g, 1, k) of the inputs where it can be taken away, or 0."""

    outputs: Tensor
    inputs: Tensor
    mean: Tensor

    @classmethod
    def of(cls, layer: Layer, seen: LayerStats) -> "Basis":
        """Return the eigenvectors of a layer's second moments, in the precision of its weight, float32 at least."""
        dtype, inputs, mean, outputs = torch.promote_types(layer.weight.dtype, torch.float32), *seen[:3]
        if takes_mean(layer, seen.norm):
            inputs = covariance(inputs, mean.unflatten(1, (inputs.shape[1], -1)))
        else:
            mean = torch.zeros_like(mean)
        return cls(_eigenvectors(outputs, dtype), _eigenvectors(inputs, dtype), mean[:, None].to(dtype))

    def turned(self, rows: Tensor) -> Tensor:
        """X U_C of rows (g, ..., k)."""
        b = self.inputs.shape[1]
        split = rows.unflatten(-1, (b, -1)).movedim(-2, 1)  # (g, b, ..., n)
        turned = split.flatten(2, -2) @ self.inputs
        return turned.reshape(split.shape).movedim(1, -2).reshape(rows.shape)

    def nothing(self) -> Tensor:
        """Zeros in the place of squares."""
        g, o = self.outputs.shape[:2]
        return torch.zeros(g, o, self.mean.shape[-1], dtype=torch.float64, device=self.mean.device)

    def squares(self, layer: Layer, x: Tensor, images: int) -> Callable[..., Tensor]:
        """d, e, ... -> the sums over images of (U_G^T g_n U_C)^2 (g, o, k), for input x of a call, gradients d, e, ...

        By g_n = sum over positions of d x^T, turned, or by d and x turned: whichever is less work.  Patches are cut
        out once for all gradients at the output.
        """
        x = with_batch(layer, x).clone()  # which the network may go on to overwrite
        images = images if len(x) % images == 0 else len(x)  # as it is where a network makes windows of its images
        g, o, k, n = *self.outputs.shape[:2], self.mean.shape[-1], self.inputs.shape[-1]

        def squares(*gradients: Tensor) -> Tensor:
            back, total = [outputs_of(layer, gradient) for gradient in gradients], self.nothing()
            positions, draws = back[0].shape[-1] * len(x) // images, len(back)
            turn_rows = positions * (draws * o * o + k * n) < draws * o * k * (o + n)
            size = max(1, NUMBERS // (g * (positions * (k + draws * o) + draws * o * k))) * len(x) // images
            for into, *out in zip(x.split(size), *(d.split(size) for d in back)):
                at_once = len(into) * images // len(x)
                rows = _by_image(patches(layer, into).to(self.mean.dtype), at_once).sub_(self.mean.mT)
                d = torch.stack([_by_image(part.to(rows.dtype), at_once) for part in out])  # (draws, images, g, o, p)
                if turn_rows:
                    turned = (self.outputs.mT @ d) @ self.turned(rows.mT.transpose(0, 1)).transpose(0, 1)
                else:
                    every = d.movedim(0, -3).flatten(-3, -2) @ rows.mT  # (images, g, draws o, k)
                    every = every.unflatten(2, (draws, o)).movedim(2, 0)
                    turned = self.turned((self.outputs.mT @ every).movedim(2, 0)).movedim(0, 2)
                total += turned.double().square_().sum((0, 1))
            return total

        return squares

    def _centred(self, rows: Tensor) -> Tensor:
        return rows.to(self.mean.dtype) - self.mean

    def expected(self, rows: Tensor, p: Tensor) -> Tensor:
        """The sum over images of the expectation of `squares` over labels, for a Linear layer that gives the scores.

        The gradients at the scores are p - e_y with the label y of probability p_y: their moments are known.
        """
        scores = p @ self.outputs[0].square() - (p @ self.outputs[0]).square()
        return (scores.mT @ self.turned(self._centred(rows))[0].square())[None].double()


def _eigenvectors(moment: Tensor, dtype: torch.dtype) -> Tensor:
    """Eigenvectors (..., n, n) in columns, of a moment whose size may be anything.

    Of wide moments in the dtype itself, in half the time: lambda is right in any orthonormal basis, and what rounding
    turns into one another are directions of next to no power.
    """
    scale = moment.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None]
    moment = moment / torch.where(scale > 0, scale, 1)
    if moment.shape[-1] < WIDE:
        return torch.linalg.eigh(moment).eigenvectors.to(dtype)
    try:
        return torch.linalg.eigh(moment.to(dtype)).eigenvectors
    except torch.linalg.LinAlgError:  # divide and conquer gives up in float32 where very many eigenvalues are nearly 0
        return torch.linalg.eigh(moment).eigenvectors.to(dtype)


def _by_image(rows: Tensor, images: int) -> Tensor:
    """(images, g, m, p) of (n, g, m, p), where the network made several of each image."""
    if len(rows) == images:
        return rows
    return rows.unflatten(0, (images, -1)).movedim(1, -2).flatten(-2)
