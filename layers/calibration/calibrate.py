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

from ..network import Layer, evaluating, frozen, images_of, is_plain
from .moments import draw, inputs_at, outputs_at, second_moment
from .stats import LayerStats, Stats, blocks


def calibrate(model: nn.Module, batches: Iterable[Any], loss_aware: bool = True, seed: int = 0) -> Stats:
    """Second moments C of every layer's inputs and G of the loss's gradient at its outputs, in one pass over `batches`.

    batches: images, or (images, labels) whose labels are not read: the loss's labels are drawn from the network's own
    softmax, so that G is its Fisher information (Martens & Grosse 2015; Grosse & Martens 2016 for
    convolutions).  loss_aware=False needs neither a backward pass nor a classifier: every output then counts alike,
    relative to the mean power of its layer's outputs.  seed: of the positions and labels that are drawn.
    Under torch.distributed every process passes images of its own, and all get the moments of all.  The network runs
    in eval mode; its modes and requires_grad are restored.  Raises ValueError without images, where a layer's input,
    its moments or the network's output are not finite, and where the loss has no gradient at a layer's output.
    """
    sums: dict[str, Any] = defaultdict(float)  # (layer's name, quantity) -> a tensor or a number
    generator = torch.Generator().manual_seed(seed)
    layers = {n: m for n, m in model.named_modules() if is_plain(m, nn.Conv2d) or is_plain(m, nn.Linear)}
    with frozen(model), evaluating(model, gradients=loss_aware), ExitStack() as hooks:
        for name, layer in layers.items():
            add = _adder(sums, name, layer, loss_aware, generator)
            hooks.callback(layer.register_forward_hook(add).remove)
        for batch in batches:
            x = images_of(batch, model)
            sums["images"] += len(x)
            scores = model(x.requires_grad_(loss_aware))
            if loss_aware:
                _backward(scores, generator)
    require(sums["images"] > 0, "batches", "none", "at least one batch of images")
    _sum_over_processes(sums)
    images = int(sums["images"])
    found = {name: _stats(name, layer, sums, images) for name, layer in layers.items() if f"{name} rows" in sums}
    return Stats(found, images, loss_aware)


def _adder(
    sums: dict[str, Any], name: str, layer: Layer, loss_aware: bool, generator: torch.Generator
) -> Callable[[nn.Module, tuple, Tensor], None]:
    groups = layer.groups if isinstance(layer, nn.Conv2d) else 1
    size, b = layer.weight[0].numel(), blocks(layer)

    def add(_: nn.Module, args: tuple, y: Tensor) -> None:
        rows = inputs_at(layer, args[0].detach(), draw(y, max(8, size // 16), generator))
        require(bool(rows.isfinite().all()), f"input of layer {name!r}", "NaN or infinity", "finite for every image")
        split = rows.unflatten(2, (b, -1)).transpose(1, 2)
        sums[f"{name} inputs"] += second_moment(split)
        sums[f"{name} mean"] += rows.sum(1, dtype=torch.float64)
        sums[f"{name} rows"] += rows.shape[1]
        positions = y.numel() // len(layer.weight)
        if not loss_aware:
            sums[f"{name} power"] += y.square().mean(dtype=torch.float64) * len(y)
            return
        require(y.requires_grad, f"output of layer {name!r}", "no gradient", "differentiable, or pass loss_aware=False")
        where = draw(y, max(64, y.shape[1] // 8), generator)
        scale = 1 if where is None else positions / len(y) / len(where.rows)

        def back(gradient: Tensor) -> None:
            sums[f"{name} outputs"] += scale * second_moment(outputs_at(gradient, where, groups))

        y.register_hook(back)

    return add


def _backward(scores: Any, generator: torch.Generator) -> None:
    """Gradients of the sum over images of -log p(label), the labels drawn from p."""
    shape = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
    classes = isinstance(scores, Tensor) and scores.ndim == 2
    require(classes, "the network's output", shape, "scores (n, classes); without a classifier pass loss_aware=False")
    log_p = scores.log_softmax(1)
    require(bool(log_p.isfinite().all()), "the network's output", "NaN or infinity", "finite for every image")
    labels = torch.multinomial(log_p.detach().exp().cpu(), 1, generator=generator).to(log_p.device)
    torch.autograd.backward(-log_p.gather(1, labels).sum())


def _sum_over_processes(sums: dict[str, Any]) -> None:
    """Every process ends with the sums of all; each must have run every layer."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    device = next(value.device for value in sums.values() if isinstance(value, Tensor))
    for key in sorted(sums):
        total = torch.as_tensor(sums[key], dtype=torch.float64, device=device)
        torch.distributed.all_reduce(total)
        sums[key] = total if total.ndim else total.item()


def _stats(name: str, layer: Layer, sums: Mapping[str, Any], images: int) -> LayerStats:
    rows = int(sums[f"{name} rows"])
    inputs, mean = sums[f"{name} inputs"] / rows, sums[f"{name} mean"] / rows
    if f"{name} outputs" in sums:
        outputs = sums[f"{name} outputs"] / images
    else:
        identity = torch.eye(len(layer.weight) // len(mean), dtype=torch.float64, device=mean.device)
        power = sums.get(f"{name} power", 0.0) / images * len(layer.weight)
        outputs = (identity / power if power != 0 else 0 * identity).expand(len(mean), -1, -1)
    finite = all(bool(moment.isfinite().all()) for moment in (inputs, mean, outputs))
    require(finite, f"moments of layer {name!r}", "NaN or infinity", "finite")
    return LayerStats(inputs, mean, outputs, rows)
