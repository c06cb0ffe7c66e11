"""What a selector minimises: for each form that a kernel offers for a layer, an error that adds up over layers."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from stage3_torch import evbmf

from ..calibration import LayerStats
from ..factored import Scheme, Spec, compose, grouped_weight, rounded, weight_shapes
from ..fitting import Metric, Whitening, sees_patches, start, whitened
from ..network import Layer
from .methods import Method

MOST = 24  # forms of a kernel whose error takes a decomposition of their own
PROBES = (0.1, 0.3, 0.6)  # of the way from the smallest candidate to the largest
LEVELS = 16  # of the shares of EVBMF's ranks


Item = TypeVar("Item")


class Judged(NamedTuple):
    """A form of a layer and its error; `level` is what `evbmf` turns up."""

    spec: Spec
    error: float
    level: float = 1.0


Judge = Callable[[Method, Layer, LayerStats | None, int], list[Judged]]  # the last: ranks are multiples of it


def weight_error(method: Method, layer: Layer, seen: LayerStats | None, multiple: int) -> list[Judged]:
    """|W - W_hat|^2 / |W|^2."""
    return [Judged(c.spec, max(0.0, 1 - c.energy)) for c in method.candidates(layer, multiple)]


def predicted_loss(method: Method, layer: Layer, seen: LayerStats | None, multiple: int) -> list[Judged]:
    """The rise of the loss that the layer's second moments foresee (metric.py)."""
    assert seen is not None
    metric, scheme = Metric.of(layer, seen), method.scheme
    if scheme is None:  # a coded layer keeps its coefficients as they are
        specs = [c.spec for c in thinned(method.candidates(layer, multiple))]
        return [Judged(s, float(metric.loss(_changed(method, layer, s)))) for s in specs]
    white, whitening = whitened(scheme, layer, metric)
    found = scheme.candidates(copy.deepcopy(white).float(), multiple)  # in half the time: rounding is small
    total = float(white.weight.detach().square().sum()) / 2
    tails = [max(0.0, 1 - candidate.energy) * total for candidate in found]
    if not (len(scheme.shapes(layer, found[0].spec)) == 2 and sees_patches(layer, whitening.first)):
        # what the first factor does not see, its whitening leaves out: some candidates are judged in the whole metric
        picked = sorted({round(share * (len(found) - 1)) for share in PROBES})
        ratios = [_ratio(scheme, layer, found[i].spec, white, whitening, metric, tails[i]) for i in picked]
        tails = [tail * ratio for tail, ratio in zip(tails, _between(picked, ratios, len(found)))]
    return [Judged(candidate.spec, tail) for candidate, tail in zip(found, tails)]


def _ratio(
    scheme: Scheme, layer: Layer, spec: Spec, white: Layer, whitening: Whitening, metric: Metric, tail: float
) -> float:
    """The loss in the whole metric over the loss in the one of the scheme's own whitening."""
    loss = float(metric.loss(_lost(scheme, layer, spec, start(scheme, layer, spec, white, whitening))))
    return loss / tail if tail > 0 else 1.0


def _between(places: Sequence[int], values: Sequence[float], count: int) -> list[float]:
    """Piecewise linear through (place, value), constant beyond, at 0, ..., count - 1."""
    found = []
    for i in range(count):
        right = next((k for k, place in enumerate(places) if place >= i), len(places) - 1)
        left = max(0, right - 1) if places[right] > i else right
        span = places[right] - places[left]
        share = min(1.0, max(0.0, (i - places[left]) / span)) if span else 0.0
        found.append(values[left] + share * (values[right] - values[left]))
    return found


def operator_error(method: Method, layer: Layer, seen: LayerStats | None, multiple: int) -> list[Judged]:
    """|W - W_hat|_2 / |W|_2, rows = outputs, the worst group's (Liebenwein et al. 2021)."""

    def norm(w: Tensor) -> Tensor:
        return torch.linalg.matrix_norm(w.flatten(2), ord=2)

    dense = norm(grouped_weight(layer)).clamp_min(torch.finfo(torch.float64).tiny)
    judged = []
    for candidate in thinned(method.candidates(layer, multiple)):
        if method.scheme is None:
            lost = _changed(method, layer, candidate.spec)
        else:
            lost = _lost(method.scheme, layer, candidate.spec, method.scheme.weights(layer, candidate.spec))
        judged.append(Judged(candidate.spec, float((norm(lost) / dense).max())))
    return judged


def evbmf_levels(method: Method, layer: Layer, seen: LayerStats | None, multiple: int) -> list[Judged]:
    """The ranks of EVBMF (Nakajima et al. 2013) times 1/16, ..., 1; errors are left open, nothing is chosen by them."""
    scheme = method.scheme
    assert scheme is not None
    sides = scheme.sides(layer)
    found = [int(evbmf(matrices).rank.max()) for matrices in sides]
    most = [min(matrices.shape[-2:]) for matrices in sides]
    judged = []
    for level in (step / LEVELS for step in range(1, LEVELS + 1)):
        ranks = [rounded(max(1, round(level * rank)), multiple, full) for rank, full in zip(found, most)]
        judged.append(Judged(scheme.at_ranks(layer, ranks), math.nan, level))
    return judged


def relative_error(method: Method, layer: Layer, spec: Spec) -> float:
    """|W - W_hat| / |W| of one form."""
    assert method.scheme is not None
    lost = _lost(method.scheme, layer, spec, method.scheme.weights(layer, spec))
    return float(lost.norm() / grouped_weight(layer).norm().clamp_min(torch.finfo(torch.float64).tiny))


def thinned(items: Sequence[Item], most: int = MOST) -> list[Item]:
    """At most that many of them, evenly spaced, the last among them."""
    step = -(-len(items) // most)
    return [*items][(len(items) - 1) % step :: step]


def _lost(scheme: Scheme, layer: Layer, spec: Spec, weights: Sequence[Tensor]) -> Tensor:
    """W - W_hat."""
    shapes = scheme.shapes(layer, spec)
    parts = [w.double().reshape(shape) for w, shape in zip(weights, weight_shapes(layer, shapes))]
    return grouped_weight(layer) - compose(parts, [shape.groups for shape in shapes])


def _changed(method: Method, layer: Layer, spec: Spec) -> Tensor:
    coded = method.build(layer, spec)
    return grouped_weight(layer) - coded.weight.detach().double().reshape(grouped_weight(layer).shape)  # type: ignore[operator]
