"""Refit a compressed network to the dense one, layer by layer in forward order, by least squares and without gradients.

What a layer then sees comes from compressed layers before it and is no longer what its factors were made for.  With
the dense layer's outputs y and the compressed network's inputs x, the best dense filter is W* = E[y x^T] E[x x^T]^-1
(Zhang et al. 2016), and |y - W_hat x|^2 differs from |W* x - W_hat x|^2 by a constant: so the factors are
fitted to W* in the metric of x, and no image is read while they are.  In a network that has lost channels the plain
layers are fitted too: W* is then what is left of the layer, with y the outputs that it still has (He et al. 2017;
GRAIL 2026), and a BatchNorm layer behind it sees what its statistics were taken of.  At the end of a residual block y
is what makes the sum right, not the layer alone: targets.py.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from checks import require

from ..calibration import (
    LayerStats,
    Stats,
    blocks,
    check_stats,
    observed,
    shrinkage,
    shrunk,
    takes_mean,
)
from ..factored import Shape, compose, set_weights
from ..network import (
    Layer,
    Progress,
    check_numbers,
    check_visible,
    copy_of,
    ignored,
    images_of,
    observing,
    obstacles,
    trim,
)
from ..thinning import outputs_left
from .fit import fit
from .held_out import distance, set_aside
from .least_squares import above, on_support, solution
from .lockstep import in_lockstep
from .metric import Metric
from .spool import spool
from .targets import Sums, Targets, sums_of

log = logging.getLogger(__name__)
# Of a fit, from where `compress` left off.  On images not fitted ResNet-20's divergence from the dense answers
# is 0.154, 0.122 and 0.114 after 12, 80 and 160 steps at 0.25 of the MACs, 0.070 and 0.053 after 12 and 80 at 0.35.
STEPS = 80
# On CPUs activations of more images than that are blocks so large that the C library asks the system for each anew and
# gives it back: two fifths of a refit's time went into that.
FEWEST, PIXELS = 16, 2**17  # images, or pixels of them, at once
MUCH = 2**28  # bytes: what is left of so much is given back after a layer


def refit(
    small: nn.Module,
    model: nn.Module,
    batches: Iterable[Any],
    *,
    stats: Stats | None = None,
    seed: int = 0,
    progress: Progress = ignored,
    held_out: int = 10,
    masks: Mapping[str, Tensor] | None = None,
) -> nn.Module:
    """Fit the layers of a copy of `small` to what the same layers of the dense `model` put out.

    Fitted are factored layers, those with a mask and, where `prune_channels` has made `small` of `model`, the plain
    ones that read what is left; of plain ones, those whose second moments take several blocks, or whose weight is tied,
    stay as they are.

    One pass of each network: all batches of the compressed one wait before a layer while it is fitted, so memory holds
    what is alive there of all images; rows of the dense outputs, at positions drawn with `seed`, wait in a temporary
    file.  A layer that is called several times is fitted to its first call.

    Args:
        small: What `compress` or `prune_channels` made of the model; it is not changed.
        model: The dense network; it is not changed.
        batches: Images, or (images, labels) with the labels unread.
        stats: What `calibrate` saw, so that outputs count as much as the loss depends on them; without it all alike.
        seed: Of the positions at which outputs are kept.
        progress: Called with the name of each layer that has been fitted.
        held_out: One image in so many is not fitted; 0 for none.  On these the new network must not be farther from
            the dense one than `small` is: in its answers' Kullback-Leibler divergence where `stats` know the loss, else
            in their squares.
        masks: 0 where a weight of `small` stays zero, by layer (`layers.thinning.masks`): the others make up for them.

    Returns:
        A new network like `small` with other weights, or with the same ones where others are no better.

    Raises:
        ValueError: Without an image, where one makes a layer's input or output NaN or infinite, for a `small` or
            `stats` of another network, for one that does not call the same layers for every batch, for a mask of no
            plain layer of `small` or under which a weight is not zero, and where the disk is full.

    Example:
        >>> import torch
        >>> from layers import Budget, compress, make_plan, refit
        >>> _ = torch.manual_seed(0)
        >>> model, images = torch.nn.Sequential(torch.nn.Linear(16, 8)), torch.randn(64, 16) @ torch.randn(16, 16)
        >>> small = compress(model, make_plan(model, Budget(params=0.7), ("svd",), example=images[:1]))
        >>> errors = [(net(images) - model(images)).norm() for net in (small, refit(small, model, [images]))]
        >>> bool(errors[1] < errors[0])
        True
    """
    for network in (model, small):
        check_visible(network)
        check_numbers(network)
    given, small = small, copy_of(small)
    images, aside = set_aside([part for batch in batches for part in _parts(images_of(batch, model))], held_out)
    require(bool(images), "batches", "none", "at least one batch of images")
    if stats is not None:
        check_stats(stats, model)
    left, masks = outputs_left(small, model), masks or {}
    _check_masks(masks, small)
    stops = _stops(small, model, left, masks)
    with observing(model), observing(small), spool() as put:
        norms = {} if stats is None else {name: seen.norm for name, seen in stats.layers.items() if seen.norm}
        targets = Targets(model, list(stops), left, norms, put)
        targets.collect(images, seed)
        wanted, following = targets.rows, {name: small.get_submodule(norm) for name, norm in norms.items()}
        ends = {name: [following[name]] if name in following else [] for name in targets.summed}
        for name, inputs, others in in_lockstep(small, stops, images, ends):
            if name not in wanted:
                continue  # a later call
            dense: Any = model.get_submodule(name)
            part: Any = small.get_submodule(name)
            sums = sums_of(_solved(dense, part), inputs, wanted.pop(name), others, following.get(name))
            finite = bool(sums["xx"].isfinite().all() and sums["yx"].isfinite().all())
            require(finite, f"inputs and outputs of layer {name!r}", "NaN or infinity", "finite")
            moments = None if stats is None else stats.layers.get(name)
            norm = "" if moments is None or dense.bias is not None else moments.norm
            if isinstance(part, nn.Sequential):
                change = _refit_factors(dense, part, sums, moments, norm)
            else:
                change = _refit_plain(part, sums, norm, masks.get(name))
            if norm:
                _shift(small.get_submodule(norm), model.get_submodule(norm), left.get(name), change)
            progress(name)
            if sum(x.nbytes for x in inputs) >= MUCH:
                trim()
    scores = stats is not None and stats.loss_aware
    return small if not aside or _no_farther(small, given, model, aside, scores) else copy_of(given)


def _check_masks(masks: Mapping[str, Tensor], small: nn.Module) -> None:
    """Refuse a mask of no plain layer or of another shape, and one under which a weight is not zero."""
    modules = dict(small.named_modules())
    for name, mask in masks.items():
        layer: Any = modules.get(name)
        plain = layer is not None and observed(layer)
        shape = tuple(layer.weight.shape) if plain else "no weight"
        allowed = f"of the shape of its weight, {shape}" if plain else "of a plain Conv2d or Linear layer of small"
        require(plain and tuple(mask.shape) == shape, f"mask of layer {name!r}", tuple(mask.shape), allowed)
        free = bool(layer.weight[mask == 0].any())
        require(not free, f"weight of layer {name!r}", "numbers under its mask", "zero where the mask is")


def _parts(images: Tensor) -> Sequence[Tensor]:
    """Split a batch on a CPU into parts whose activations stay small."""
    pixels = math.prod(images.shape[2:])
    return [images] if images.device.type != "cpu" else images.split(max(FEWEST, PIXELS // max(1, pixels)))


def _no_farther(refitted: nn.Module, given: nn.Module, model: nn.Module, aside: list[Tensor], scores: bool) -> bool:
    """Whether the refitted network is no farther from the dense one on images held out than it was; say so if it is."""
    was, now = (distance(network, model, aside, scores) for network in (given, refitted))
    if now > was:
        log.warning(
            "the refit is not kept: farther from the dense network on images held out, %.4g, than without it, %.4g",
            now,
            was,
        )
    return now <= was


def _stops(
    small: nn.Module, model: nn.Module, left: Mapping[str, Tensor], masks: Mapping[str, Tensor]
) -> dict[str, nn.Module]:
    """Return what is fitted by name, or the last factor of it: what its inputs are read before."""
    parts, stops, fixed = dict(small.named_modules()), {}, obstacles(small)
    for name, layer in model.named_modules():
        part: Any = parts.get(name)
        require(part is not None, "small", f"a network without {name!r}", "compress(model, plan) of this model")
        if not observed(layer):
            continue
        if isinstance(part, nn.Sequential):
            require(not left, "small", f"layer {name!r} factored and channels taken out", "refitted after either step")
            stops[name] = part if _solved(layer, part) is layer else part[-1]
        elif observed(part):
            outputs = len(left.get(name, layer.weight))
            got = f"a layer {name!r} of {len(part.weight)} outputs"
            allowed = f"with {outputs}, as prune_channels left it: a checkpoint does not tell which were taken out"
            require(len(part.weight) == outputs, "small", got, allowed)
            if (left or name in masks) and blocks(part) == 1 and name not in fixed:
                stops[name] = part
    return stops


def _solved(layer: Any, part: Any) -> Any:
    """Return what is solved for: the layer, or its last factor where second moments do not fit in one block.

    What is left of a layer is solved for itself.
    """
    if not isinstance(part, nn.Sequential):
        return part
    return layer if blocks(layer) == 1 else part[-1]


def _refit_factors(layer: Layer, factors: nn.Sequential, sums: Sums, seen: LayerStats | None, norm: str) -> Tensor:
    """Fit in place: W* and the factors nearest to it in the metric of x and of gradients; the bias takes the rest.

    Return by how much the mean output, but for a bias, is above the dense layer's: without a bias, `norm` takes it.
    """
    parts: list[Any] = list(factors.children())
    solved = _solved(layer, factors)
    xx, target = solution(solved, sums, takes_mean(layer, norm))
    if solved is layer:
        if seen is None:
            gradients = torch.eye(target.shape[1], dtype=target.dtype).expand(len(target), -1, -1)
        else:
            gradients = shrunk(seen.outputs, shrinkage(seen.outputs, seen.rows))
        shapes = [_shape(part) for part in parts]
        weights = [part.weight.detach().double() for part in parts]
        weights = fit(weights, shapes, layer, target, Metric(xx[:, None], gradients.to(target.device), None), STEPS)
        target = compose(weights, [shape.groups for shape in shapes])
    else:
        weights = [*(part.weight.detach() for part in parts[:-1]), target]
    change = above(target, sums)
    set_weights(nn.Sequential(*parts), weights, None if layer.bias is None else -change)
    return change


def _refit_plain(layer: Any, sums: Sums, norm: str, mask: Tensor | None) -> Tensor:
    """Set W* in place, or what is nearest to it under the mask, and its bias; return as `_refit_factors` does."""
    xx, target = solution(layer, sums, takes_mean(layer, norm))
    if mask is not None:
        target = on_support(xx, target, mask.reshape(target.shape) != 0)
    change = above(target, sums)
    set_weights(nn.Sequential(layer), [target], None if layer.bias is None else -change)
    return change


def _shift(after: Any, before: Any, left: Tensor | None, change: Tensor) -> None:
    """Let a BatchNorm take away what the mean of its input, of which the outputs `left` are left, has risen by."""
    mean = before.running_mean if left is None else before.running_mean[left.to(change.device)]
    after.running_mean.copy_(mean + change)


def _shape(part: Any) -> Shape:
    if isinstance(part, nn.Linear):
        return Shape(part.in_features, part.out_features)
    height, width = (size > 1 for size in part.kernel_size)
    return Shape(part.in_channels, part.out_channels, height, width, part.groups)
