"""Factors fitted to a weight in the metric of the loss: least squares over all of them at once, no image needed."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from stage3_torch import svd

from ..factored import LARGE, Scheme, Shape, Spec, compose, grouped_weight, weight_shapes, weights
from ..network import Layer
from .metric import Metric
from .whitening import Whitening

# of L-BFGS.  On the layers of a trained ResNet-20 the loss that is left is then a quarter above that of 40 steps, in a
# third of their time; with the last factor among the unknowns 20 steps took twice as long and left 16 % more.
STEPS = 12
HISTORY = 20  # of L-BFGS: as many as there are steps leave 0.4 % less of the loss after 80, in a third more time


def whitened(scheme: Scheme, layer: Layer, metric: Metric) -> tuple[Layer, Whitening]:
    """(the layer in float64 with the whitened weight R^T W L for the scheme's first factor, the whitening)."""
    first = scheme.shapes(layer, scheme.at_ranks(layer, [1] * len(scheme.sides(layer))))[0]
    whitening, white = Whitening.of(layer, metric, first), copy.deepcopy(layer).double()
    white.weight.data = whitening.apply(grouped_weight(layer)).reshape(layer.weight.shape)
    return white, whitening


def start(scheme: Scheme, layer: Layer, spec: Spec, white: Layer, whitening: Whitening) -> list[Tensor]:
    """Return the scheme's own factors of R^T W L, undone, in float64: exact for svd of patches, else a beginning."""
    shapes = scheme.shapes(layer, spec)
    beginning = not (len(shapes) == 2 and sees_patches(layer, shapes[0]))
    single = beginning and layer.weight.dtype != torch.float64
    factors = zip(weights(scheme, white, spec, single), weight_shapes(layer, shapes))
    return whitening.undo([w.reshape(shape) for w, shape in factors])


def sees_patches(layer: Layer, first: Shape) -> bool:
    """Tell whether the first factor reads all that the layer reads: the two-factor form is then a matrix's SVD."""
    size = layer.kernel_size if isinstance(layer, nn.Conv2d) else (1, 1)
    return all(own or k == 1 for own, k in zip((first.height, first.width), size))


def fit(
    factors: Sequence[Tensor], shapes: Sequence[Shape], layer: Layer, target: Tensor, metric: Metric, steps: int = STEPS
) -> list[Tensor]:
    """argmin 1/2 |R^T (target - W_hat) L|_F^2 over the factors, from `factors`; target (g, o, i, h, w), all float64.

    By an SVD where the form is a matrix of that rank (Eckart & Young 1936), else by L-BFGS on all factors but the last,
    the first of them whitened; the last is the best one to these in each step (Metric.nearest).
    """
    whitening = Whitening.of(layer, metric, shapes[0])
    groups = [shape.groups for shape in shapes]
    if len(shapes) == 2 and sees_patches(layer, shapes[0]):
        like = whitening.apply(target)
        u, s, vt = svd(like.flatten(2), shapes[1].inputs // shapes[1].groups)
        pair = [s.sqrt()[:, :, None] * vt, u * s.sqrt()[:, None, :]]
        return whitening.undo([part.reshape(w.shape) for part, w in zip(pair, factors)])
    *others, last = whitening.do(factors)
    free = [w.detach().clone(memory_format=torch.contiguous_format).requires_grad_() for w in others]
    columns = last[0].numel()  # the last factor is a matrix with so many, one for each channel and tap that it reads
    taps = torch.eye(columns, dtype=last.dtype, device=last.device).reshape(columns, *last.shape[1:])
    taps = torch.cat([taps] * groups[-1])
    nearest = metric.nearest(target, single=layer.weight.numel() >= LARGE and layer.weight.dtype != torch.float64)
    scale = metric.fitted(target).clamp_min(torch.finfo(torch.float64).tiny)
    solver = torch.optim.LBFGS(
        free,
        max_iter=steps,
        history_size=min(steps, HISTORY),
        line_search_fn="strong_wolfe",
        tolerance_grad=0,
        tolerance_change=0,
    )

    def product() -> Tensor:
        """Return all that the last factor is multiplied by (g, columns, i, h, w)."""
        return compose([whitening.undo_first(free[0]), *free[1:], taps], groups)

    def error() -> Tensor:
        solver.zero_grad()
        with torch.enable_grad():
            k = product()
        _, loss, slope = nearest(k.detach())
        k.backward(slope / scale)
        return loss / scale

    solver.step(error)
    with torch.no_grad():
        fitted = nearest(product()).factor
        return [whitening.undo_first(free[0]), *(w.detach() for w in free[1:]), fitted.reshape(last.shape)]


def loss_aware(scheme: Scheme, layer: Layer, spec: Spec, metric: Metric) -> tuple[list[Tensor], Tensor | None]:
    """Return the factors that raise the loss least, and the bias that keeps the layer's mean output."""
    factors, shapes = start(scheme, layer, spec, *whitened(scheme, layer, metric)), scheme.shapes(layer, spec)
    target = grouped_weight(layer)
    if not (len(shapes) == 2 and sees_patches(layer, shapes[0])):
        factors = fit(factors, shapes, layer, target, metric)
    return factors, bias_after(layer, target - compose(factors, [s.groups for s in shapes]), metric)


def bias_after(layer: Layer, change: Tensor, metric: Metric) -> Tensor | None:
    """Return b + D E[x], D (g, o, i, h, w) what the weight lost; None for a layer without a bias."""
    if layer.bias is None or metric.mean is None:
        return None
    return layer.bias.detach().double() + (change.flatten(2) @ metric.mean[:, :, None]).flatten()
