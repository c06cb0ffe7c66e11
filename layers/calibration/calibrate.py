"""What a network does with real images: second moments of its layers' inputs and of the gradients at their outputs.

One streaming pass, with one batch in memory at a time beside the sums: (inputs x height x width)^2 numbers in float64
per layer, about 1 GiB for ResNet-50.  Wide layers keep those sums in blocks of channels (stats.py).
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from checks import require

from ..network import (
    Layer,
    answer,
    check_numbers,
    check_visible,
    frozen,
    images_of,
    input_of,
    observing,
    with_batch,
)
from .moments import draw, inputs_at, outputs_at, second_moment
from .stats import LayerStats, Stats, blocks, observed

Sums = dict[tuple[str, str], Any]  # (layer's name, quantity) -> a tensor or a number
IMAGES = ("", "images")


def calibrate(model: nn.Module, batches: Iterable[Any], loss_aware: bool = True, seed: int = 0) -> Stats:
    """Sum the second moments C of every layer's inputs and G of the loss's gradient at its outputs, in one pass.

    Labels are drawn from the network's own softmax, so that G is its Fisher information (Martens & Grosse 2015;
    Grosse & Martens 2016 for convolutions).  Under torch.distributed every process passes images of its own, and all
    get the moments of all.  The network runs in eval mode on copies of the images; its modes and requires_grad are
    restored.  A compiled network runs as it was written.

    Args:
        model: any network; its plain Conv2d and Linear layers are observed, not transposed convolutions.
        batches: images (n, ...), or (images, labels) whose labels are not read.
        loss_aware: False needs neither a backward pass nor a classifier: every output then counts alike, relative to
            the mean power of its layer's outputs.
        seed: of the positions and labels that are drawn.

    Returns:
        The moments by layer; a layer that no image reached is not among them.

    Raises:
        ValueError: without images, for a single image without a batch axis, where a weight, a layer's input, its
            moments or the network's output are not finite, where the loss has no gradient at a layer's output, for
            images of a dtype that the network does not take, and for a scripted or quantised network.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 3))
        >>> stats = calibrate(net, [torch.ones(8, 1, 4, 4)])
        >>> [(name, *moments.outputs.shape, moments.rows) for name, moments in stats.layers.items()]
        [('0', 1, 4, 4, 32), ('2', 1, 3, 3, 8)]
    """
    check_visible(model)
    check_numbers(model)
    sums: Sums = defaultdict(float)
    generator = torch.Generator().manual_seed(seed)
    layers: dict[str, Any] = {n: m for n, m in model.named_modules() if observed(m) and m.weight.numel()}
    with frozen(model), observing(model, gradients=loss_aware), ExitStack() as hooks:
        for name, layer in layers.items():
            add = _adder(sums, name, layer, loss_aware, generator)
            hooks.callback(layer.register_forward_hook(add, with_kwargs=True).remove)
        for batch in batches:
            x = images_of(batch, model)
            sums[IMAGES] += len(x)
            scores = answer(model, x, gradients=loss_aware)
            if loss_aware:
                _backward(scores, len(x), generator)
    require(sums[IMAGES] > 0, "batches", "none", "at least one batch of images")
    _sum_over_processes(sums)
    images = int(sums[IMAGES])
    moments = {name: _stats(name, layer, sums, images) for name, layer in layers.items() if (name, "rows") in sums}
    return Stats(moments, images, loss_aware)


def _adder(
    sums: Sums, name: str, layer: Layer, loss_aware: bool, generator: torch.Generator
) -> Callable[[nn.Module, tuple, dict[str, Any], Tensor], None]:
    size, b = layer.weight[0].numel(), blocks(layer)

    def add(_: nn.Module, args: tuple, kwargs: dict[str, Any], y: Tensor) -> None:
        x = input_of(args, kwargs).detach()
        rows = inputs_at(layer, x, draw(layer, y, max(8, size // 16), generator))
        require(bool(rows.isfinite().all()), f"input of layer {name!r}", "NaN or infinity", "finite for every image")
        split = rows.unflatten(2, (b, -1)).transpose(1, 2)
        sums[name, "inputs"] += second_moment(split)
        sums[name, "mean"] += rows.sum(1, dtype=torch.float64)
        sums[name, "rows"] += rows.shape[1]
        images, positions = len(with_batch(layer, y)), y.numel() // len(layer.weight)
        if not loss_aware:
            sums[name, "power"] += y.square().mean(dtype=torch.float64) * images
            return
        require(y.requires_grad, f"output of layer {name!r}", "no gradient", "differentiable, or pass loss_aware=False")
        where = draw(layer, y, max(64, len(layer.weight) // 8), generator)
        scale = 1 if where is None else positions / images / len(where.rows)

        def back(gradient: Tensor) -> None:
            sums[name, "outputs"] += scale * second_moment(outputs_at(layer, gradient, where))

        y.register_hook(back)

    return add


def _backward(scores: Any, images: int, generator: torch.Generator) -> None:
    """Compute the gradients of the sum over images of -log p(label), the labels drawn from p."""
    if isinstance(scores, Tensor) and scores.ndim == 1 and images == 1:
        scores = scores[None]  # squeeze() has taken the axis of a batch of one image
    shape = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
    classes = isinstance(scores, Tensor) and scores.ndim == 2
    require(classes, "the network's output", shape, "scores (n, classes); without a classifier pass loss_aware=False")
    log_p = scores.log_softmax(1)
    require(bool(log_p.isfinite().all()), "the network's output", "NaN or infinity", "finite for every image")
    labels = torch.multinomial(log_p.detach().exp().cpu(), 1, generator=generator).to(log_p.device)
    try:
        torch.autograd.backward(-log_p.gather(1, labels).sum())
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:  # it overwrites what the gradient needs, or detaches its output
        words = str(error).partition(": [")[0].splitlines()[0]
        allowed = "differentiable, or pass loss_aware=False, as selector energy without refit does"
        raise ValueError(f"the network must be {allowed}, got {words}") from error


def _sum_over_processes(sums: Sums) -> None:
    """Every process ends with the sums of all; each must have run every layer."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    device = next(value.device for value in sums.values() if isinstance(value, Tensor))
    for key in sorted(sums):
        total = torch.as_tensor(sums[key], dtype=torch.float64, device=device)
        torch.distributed.all_reduce(total)
        sums[key] = total if total.ndim else total.item()


def _stats(name: str, layer: Layer, sums: Mapping[tuple[str, str], Any], images: int) -> LayerStats:
    rows = int(sums[name, "rows"])
    inputs, mean = sums[name, "inputs"] / rows, sums[name, "mean"] / rows
    if (name, "outputs") in sums:
        outputs = sums[name, "outputs"] / images
    else:
        identity = torch.eye(len(layer.weight) // len(mean), dtype=torch.float64, device=mean.device)
        power = sums.get((name, "power"), 0.0) / images * len(layer.weight)
        outputs = (identity / power if power != 0 else 0 * identity).expand(len(mean), -1, -1)
    finite = all(bool(moment.isfinite().all()) for moment in (inputs, mean, outputs))
    require(finite, f"moments of layer {name!r}", "NaN or infinity", "finite")
    return LayerStats(inputs, mean, outputs, rows)
