"""What a selector minimises: for each form that a kernel offers for a layer, an error that adds up over layers.

A judge is a function (method, layer, metric of the layer or None, multiple of the ranks) -> forms, from the smallest to
the largest, each with its error or its level.
"""

import copy
import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from stage3_torch import energy_rank, evbmf

from ..factored import (
    Form,
    Scheme,
    Spec,
    candidates,
    compose,
    grouped_weight,
    in_range,
    rounded,
    spectrum,
    weight_shapes,
    weights,
)
from ..fitting import Metric, Whitening, sees_patches, start, whitened
from ..network import Layer
from .methods import Method

MOST = 24  # forms of a kernel whose error takes a decomposition of their own
PROBES = (0.1, 0.3, 0.6)  # of the way from the smallest candidate to the largest
LEVELS = [step / 16 for step in range(1, 17)]  # shares of EVBMF's ranks
SHARES = [*(1 - 2 ** (-step / 4) for step in range(1, 65)), 1.0]  # of the energy, from 0.16 to all but 2e-5, and all

Item = TypeVar("Item")
Judge = Callable[[Method, Layer, Metric | None, int], list[Form]]


def weight_error(method: Method, layer: Layer, metric: Metric | None, multiple: int) -> list[Form]:
    """|W - W_hat|^2 / |W|^2."""
    return method.candidates(layer, multiple)


def predicted_loss(method: Method, layer: Layer, metric: Metric | None, multiple: int) -> list[Form]:
    """Judge by the rise of the loss that the layer's second moments foresee (layers/fitting/metric.py)."""
    assert metric is not None
    scheme = method.scheme
    if scheme is None:  # a coded layer keeps its coefficients as they are
        forms = evenly(method.candidates(layer, multiple), MOST)
        return [form._replace(error=float(metric.loss(_changed(method, layer, form.spec)))) for form in forms]
    white, whitening = whitened(scheme, layer, metric)
    total = float(white.weight.detach().square().sum()) / 2
    small = in_range(white)[0]  # an even trained network's gradients, and so this weight, may be tiny
    forms = candidates(scheme, copy.deepcopy(small).float(), multiple)  # in half the time: rounding is small
    tails = [form.error * total for form in forms]
    whole = len(scheme.shapes(layer, forms[0].spec)) == 2 and sees_patches(layer, whitening.first)
    if metric.eigen is not None or not whole:
        # what the first factor does not see, its whitening leaves out, as it does what eigenvalues know better than
        # their Kronecker factors: some candidates are judged in the whole metric
        probed = sorted({round(share * (len(forms) - 1)) for share in PROBES})
        ratios = [_ratio(scheme, layer, forms[i].spec, white, whitening, metric, tails[i]) for i in probed]
        tails = [tail * ratio for tail, ratio in zip(tails, _between(probed, ratios, len(forms)))]
    return [form._replace(error=tail) for form, tail in zip(forms, tails)]


def _ratio(
    scheme: Scheme, layer: Layer, spec: Spec, white: Layer, whitening: Whitening, metric: Metric, tail: float
) -> float:
    """Divide the loss in the whole metric by the loss in the one of the scheme's own whitening."""
    loss = float(metric.loss(_lost(scheme, layer, spec, start(scheme, layer, spec, white, whitening))))
    return loss / tail if tail > 0 else 1.0


def _between(places: Sequence[int], values: Sequence[float], count: int) -> list[float]:
    """Interpolate (place, value) piecewise linearly, constant beyond, at 0, ..., count - 1."""
    interpolated = []
    for i in range(count):
        right = next((k for k, place in enumerate(places) if place >= i), len(places) - 1)
        left = max(0, right - 1) if places[right] > i else right
        span = places[right] - places[left]
        share = min(1.0, max(0.0, (i - places[left]) / span)) if span else 0.0
        interpolated.append(values[left] + share * (values[right] - values[left]))
    return interpolated


def operator_error(method: Method, layer: Layer, metric: Metric | None, multiple: int) -> list[Form]:
    """|W - W_hat|_2 / |W|_2, rows = outputs, the worst group's (Liebenwein et al. 2021)."""

    def norm(w: Tensor) -> Tensor:
        return torch.linalg.matrix_norm(w.flatten(2), ord=2)

    dense = norm(grouped_weight(layer)).clamp_min(torch.finfo(torch.float64).tiny)
    judged = []
    for form in evenly(method.candidates(layer, multiple), MOST):
        if method.scheme is None:
            lost = _changed(method, layer, form.spec)
        else:
            lost = _lost(method.scheme, layer, form.spec, weights(method.scheme, layer, form.spec))
        judged.append(form._replace(error=float((norm(lost) / dense).max())))
    return judged


def evbmf_levels(method: Method, layer: Layer, metric: Metric | None, multiple: int) -> list[Form]:
    """Offer the ranks of EVBMF (Nakajima et al. 2013) times 1/16, ..., 1; errors are NaN: level is what chooses."""

    def ranks_at(sides: list[Tensor]) -> list[list[int]]:
        largest = [int(evbmf(matrices).rank.max()) for matrices in sides]
        return [[max(1, round(level * rank)) for rank in largest] for level in LEVELS]

    return _by_ranks(method, layer, multiple, LEVELS, ranks_at)


def energy_levels(method: Method, layer: Layer, metric: Metric | None, multiple: int) -> list[Form]:
    """Offer the least ranks that reach a share of the energy, for rising shares; errors are NaN: level chooses."""

    def ranks_at(sides: list[Tensor]) -> list[list[int]]:
        values = [spectrum(matrices).sqrt() for matrices in sides]
        return [[int(energy_rank(s, share)) for s in values] for share in SHARES]

    return _by_ranks(method, layer, multiple, SHARES, ranks_at)


def _by_ranks(
    method: Method,
    layer: Layer,
    multiple: int,
    levels: Sequence[float],
    ranks_at: Callable[[list[Tensor]], list[list[int]]],
) -> list[Form]:
    """Build the form of each level from the ranks, at that level, of the scheme's matricisations."""
    scheme = method.scheme
    assert scheme is not None
    sides = scheme.sides(in_range(layer)[0])
    full = [min(matrices.shape[-2:]) for matrices in sides]
    forms = []
    for level, ranks in zip(levels, ranks_at(sides)):
        spec = scheme.at_ranks(layer, [rounded(rank, multiple, most) for rank, most in zip(ranks, full)])
        forms.append(Form(scheme.kernel, spec, error=math.nan, level=level))
    return forms


def relative_error(method: Method, layer: Layer, spec: Spec) -> float:
    """|W - W_hat| / |W| of one form."""
    assert method.scheme is not None
    near = in_range(layer)[0]
    lost = _lost(method.scheme, near, spec, weights(method.scheme, near, spec))
    return float(lost.norm() / grouped_weight(near).norm().clamp_min(torch.finfo(torch.float64).tiny))


def evenly(items: Sequence[Item], most: int) -> list[Item]:
    """Pick at most `most` of them, evenly spaced, the last among them."""
    step = -(-len(items) // most)
    return [*items][(len(items) - 1) % step :: step]


def _lost(scheme: Scheme, layer: Layer, spec: Spec, factors: Sequence[Tensor]) -> Tensor:
    """W - W_hat (g, o, i, h, w) in float64."""
    shapes = scheme.shapes(layer, spec)
    parts = [w.double().reshape(shape) for w, shape in zip(factors, weight_shapes(layer, shapes))]
    return grouped_weight(layer) - compose(parts, [shape.groups for shape in shapes])


def _changed(method: Method, layer: Layer, spec: Spec) -> Tensor:
    """W - W_hat (g, o, i, h, w) of a coded layer, in float64."""
    coded = method.build(layer, spec)
    return grouped_weight(layer) - coded.weight.detach().double().reshape(grouped_weight(layer).shape)  # type: ignore[operator]
