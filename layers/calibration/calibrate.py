"""What a network does with real images: second moments of its layers' inputs and of the gradients at their outputs.

One streaming pass, with one batch in memory at a time beside the sums: (inputs x height x width)^2 numbers in float64
per layer, about 1 GiB for ResNet-50.  Wide layers keep those sums in blocks of channels (stats.py).  A few images wait
until the others have given their moments, and then show in the eigenvectors of these what they miss: eigenvalues.py.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from checks import require

from ..network import Layer, check_numbers, check_visible, frozen, images_of, observing
from .eigenvalues import MOST_ROWS, Basis
from .first_look import first_look
from .observer import IMAGES, Observer, Sums
from .reservoir import Reservoir
from .stats import Eigen, LayerStats, Stats, observed

WAITING = 256  # images, or half of them where they are fewer


def calibrate(model: nn.Module, batches: Iterable[Any], loss_aware: bool | None = None, seed: int = 0) -> Stats:
    """Sum the second moments C of every layer's inputs and G of the loss's gradient at its outputs, in one pass.

    Labels are drawn from the network's own softmax, so that G is its Fisher information (Martens & Grosse 2015;
    Grosse & Martens 2016 for convolutions).  Under torch.distributed every process passes images of its own, and all
    get the moments of all.  The network runs in eval mode on copies of the images; its modes and requires_grad are
    restored.  A compiled network runs as it was written.

    Args:
        model: any network; its plain Conv2d and Linear layers are observed, not transposed convolutions.
        batches: images (n, ...), or (images, labels) whose labels are not read.
        loss_aware: False needs neither a backward pass nor a classifier: every output then counts alike, relative to
            the mean power of its layer's outputs.  None: whether there are class scores in what the network answers,
            a tensor, a tuple or a dictionary of tensors; a warning says where there are none.
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
    batches, loss_aware = first_look(model, batches, loss_aware)
    layers: dict[str, Any] = {n: m for n, m in model.named_modules() if observed(m) and m.weight.numel()}
    generator = torch.Generator().manual_seed(seed)
    waiting = Reservoir(WAITING if loss_aware else 0, generator)
    with frozen(model), observing(model, gradients=loss_aware):
        passing = (part for batch in batches for part in waiting.pass_on(images_of(batch, model)))
        observer = Observer(model, layers, loss_aware, generator)
        sums = observer.run(passing)
        require(sums[IMAGES] > 0, "batches", "none", "at least one batch of images")
        _sum_over_processes(sums)
        if not loss_aware:
            return Stats(dict(_moments(layers, sums, {})), int(sums[IMAGES]), loss_aware)
        norms = observer.norms or {}
        seen_first = _moments(layers, sums, norms)
        bases = {n: Basis.of(layers[n], seen) for n, seen in seen_first if seen.inputs.shape[-1] <= MOST_ROWS}
        later = Observer(model, layers, loss_aware, generator, bases).run(waiting.batches())
        for key, value in sums.items():
            later[key] += 0 * value  # each process has the same sums, also one whose images are all through
        for name, basis in bases.items():
            later[name, "squares"] += basis.nothing()
        _sum_over_processes(later)
    squares, images = {name: later.pop((name, "squares")) for name in bases}, int(later[IMAGES])
    for key in list(later):
        sums[key] += later.pop(key)
    moments = {}
    for name, seen in _moments(layers, sums, norms):
        moments[name], shown = seen, squares.get(name)
        if shown is not None and shown.sum() > 0:
            basis = bases[name]
            moments[name] = seen._replace(eigen=Eigen(basis.outputs, basis.inputs, shown / images, images))
        del sums[name, "inputs"]  # of wide layers hundreds of MB each, which are not kept twice
    return Stats(moments, int(sums[IMAGES]), loss_aware)


def _sum_over_processes(sums: Sums) -> None:
    """Every process ends with the sums of all; each must have run every layer."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return
    device = next(value.device for value in sums.values() if isinstance(value, Tensor))
    for key in sorted(sums):
        total = torch.as_tensor(sums[key], dtype=torch.float64, device=device)
        torch.distributed.all_reduce(total)
        sums[key] = total if total.ndim else total.item()


def _moments(layers: Mapping[str, Any], sums: Sums, norms: Mapping[str, str]) -> Iterator[tuple[str, LayerStats]]:
    """Yield the moments of the layers that an image reached, and the BatchNorms after them, layer by layer."""
    images, reached = int(sums[IMAGES]), [name for name in layers if (name, "rows") in sums]
    for name in reached:
        yield name, _stats(name, layers[name], sums, images)._replace(norm=norms.get(name, ""))


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
