"""Weights on a uniform grid: each layer at N bits, or with the steps that a budget of bytes pays for best."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from checks import require

from ..calibration import LayerStats, Stats, check_stats, observed
from ..coded import check_plain_weights
from ..factored import Form, grouped_weight
from ..fitting import Metric
from ..network import (
    Progress,
    check_numbers,
    check_untied,
    compressed_size_of,
    copy_of,
    ignored,
    network_bytes,
    pack,
    weighted,
)
from ..planning.selectors import SELECTORS, TooSmall, spend
from ..thinning import compensated, largest, nearest, put, steps

RATIO = 2**0.5  # between two steps that a layer may take: half a bit
COARSEST = 1.5  # steps to the largest weight
TRIALS = 6  # files that are weighed until one is within the budget

Kinds = type[nn.Module] | tuple[type[nn.Module], ...]


class _Layer(NamedTuple):
    """A layer's weights on grids of falling steps, and last as they are, each judged and priced."""

    forms: list[Form]
    weights: list[Tensor]  # (g, o, k) in the layer's dtype


def on_grid(
    model: nn.Module,
    bits: int = 8,
    stats: Stats | None = None,
    most: int | None = None,
    kinds: Kinds = nn.Module,
    progress: Progress = ignored,
) -> nn.Module:
    """Copy the network with the weights of its Conv2d and Linear layers on uniform grids, which `save` stores small.

    With `stats` what rounding an entry loses, those after it make up for (`compensated`), and a bias takes over the
    mean of what is left.  With `most`, each layer takes one step for all its filters, chosen among steps of half a bit
    each so that the predicted rise of the loss, 1/2 tr(D^T G D C) summed over layers, is least for its bytes once they
    are compressed, as `make_plan` chooses ranks.  Zeros stay zero.

    Args:
        model: a network of plain layers, which is left as it is.
        bits: of a weight, 2 to 8; with `most`, at most so many.
        stats: what `calibrate` saw of this very network; `most` needs it.
        most: bytes of the file that `save` writes of it, compressed.
        kinds: the kinds of layers whose weights are rounded, among Conv2d and Linear.
        progress: called with the name of each layer that has been rounded.

    Returns:
        The network, every weight a whole number of its layer's or filter's steps.

    Raises:
        ValueError: for a number of bits that is none of these, for tied or parametrised weights or NaN among them, for
            stats of another network, and for bytes that no steps reach, with the least that they do.

    Example:
        >>> layer = on_grid(nn.Linear(64, 8), 4)
        >>> len(layer.weight[0].unique()) <= 15
        True
    """
    limit, layers = largest(bits), weighted(model, kinds)
    require(bool(layers), "model", type(model).__name__, "one with convolutions or Linear layers to round")
    require(most is None or stats is not None, "stats", None, "given where bytes are: calibrate(model, batches)")
    check_untied(model, layers, "round")
    check_plain_weights(layers, "round")
    check_numbers(model)
    seen: Mapping[str, LayerStats] = {} if stats is None else stats.layers
    if stats is not None:
        check_stats(stats, model)
    metrics = {n: Metric.of(layer, seen[n]) for n, layer in layers.items() if n in seen and observed(layer)}  # type: ignore[arg-type]
    if most is not None:
        return _within(model, {n: layers[n] for n in metrics}, metrics, limit, most, progress)
    weights = {}
    for name, layer in layers.items():
        weights[name] = _at(layer, bits, metrics.get(name))
        progress(name)
    return _filled(model, weights, metrics)


def _at(layer: nn.Module, bits: int, metric: Metric | None) -> Tensor:
    """The weight (g, o, k) of N bits, a step for each filter."""
    weight = grouped_weight(layer).flatten(2)  # type: ignore[arg-type]
    step = steps(layer.weight, bits).reshape(*weight.shape[:2], 1)  # type: ignore[arg-type]
    if metric is None:
        return nearest(weight.to(step.dtype), step, largest(bits))
    return compensated(weight, step, largest(bits), metric.inputs)


def _filled(model: nn.Module, weights: Mapping[str, Tensor], metrics: Mapping[str, Metric]) -> nn.Module:
    """A copy of the network with these weights; a bias takes over what they change of the mean."""
    small = copy_of(model)
    for name, weight in weights.items():
        layer, metric = small.get_submodule(name), metrics.get(name)
        put(layer, grouped_weight(layer).flatten(2), weight, None if metric is None else metric.mean)  # type: ignore[arg-type]
    return small


def _grids(layer: nn.Module, metric: Metric, limit: int) -> _Layer:
    """Its weight on grids from the coarsest to the finest, and as it is."""
    weight = grouped_weight(layer).flatten(2)  # type: ignore[arg-type]
    top, own, count = float(weight.abs().max()), layer.weight.dtype, 0
    while limit / RATIO**count >= COARSEST:
        count += 1
    wide = [torch.tensor(top / limit * RATIO**n or 1.0, dtype=own) for n in reversed(range(count))]  # type: ignore[arg-type]
    step = torch.stack(wide).repeat_interleave(weight.shape[1])[None, :, None].to(weight.device)
    rounded = compensated(weight.repeat(1, count, 1), step, limit, metric.inputs).chunk(count, 1)
    shape, dense = grouped_weight(layer).shape, layer.weight.detach()  # type: ignore[arg-type, operator]
    forms = [
        Form("grid", {}, price=_price(w, scale), error=float(metric.loss((weight - w.double()).reshape(shape))))
        for w, scale in zip(rounded, wide)
    ]
    whole = Form(None, {}, price=pack(dense, compressed_size_of, ("planes",)).price)
    return _Layer([*forms, whole], [*rounded, weight.to(dense.dtype)])


def _price(weight: Tensor, scale: Tensor) -> float:
    """Bytes of the whole numbers in the file, once they are compressed."""
    numbers = (weight.flatten().double() / float(scale)).round()
    return pack((numbers - numbers.min()).to(torch.uint8), compressed_size_of, ("bits", "gaps")).price


def _within(
    model: nn.Module,
    layers: Mapping[str, nn.Module],
    metrics: Mapping[str, Metric],
    limit: int,
    most: int,
    progress: Progress,
) -> nn.Module:
    """The network whose file takes at most so many bytes: prices are near, so files are weighed."""
    found = {}
    for name, layer in layers.items():
        found[name] = _grids(layer, metrics[name], limit)
        progress(name)
    forms, elsewhere = [layer.forms for layer in found.values()], len(network_bytes(model, True))
    elsewhere -= round(sum(layer[-1].price for layer in forms))
    left = float(most - elsewhere)
    for _ in range(TRIALS):
        try:
            chosen = spend(SELECTORS["loss"], forms, left)
        except TooSmall as small:
            least = f"at least {round(small.least) + elsewhere:,} for this network"
            raise ValueError(f"bytes must be {least}, got {most:,}") from None
        weights = {
            name: layer.weights[layer.forms.index(form)]
            for (name, layer), form in zip(found.items(), chosen)
            if form.kernel
        }
        small_network = _filled(model, weights, metrics)
        size = len(network_bytes(small_network, True))
        if size <= most:
            return small_network
        left -= size - most
    raise ValueError(f"bytes must be more than {most:,} for this network, got {size:,} at least")
