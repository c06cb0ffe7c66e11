"""In which order channels go: by their weights, by gradients of the loss, or by the loss that calibration foresees."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
import torch_pruning
from torch import Tensor, nn

from checks import require

from ..calibration import Stats, check_stats, observed
from ..network import answer, frozen, images_of, observing, with_batch
from .coupled import Coupled
from .removal import Path, removal_path


class Shown(NamedTuple):
    """What a score may ask for beside the network."""

    stats: Stats | None
    batches: Iterable[Any] | None
    seed: int


Order = Callable[[Coupled], Path]


def _by_norm(p: int) -> Callable[[nn.Module, Shown], Order]:
    """Order units by the mean, over the layers that they reach, of sum |w|^p (DepGraph: Fang et al. 2023)."""
    importance = torch_pruning.importance.GroupMagnitudeImportance(p=p)
    return lambda model, shown: lambda coupled: _sorted(importance(coupled.group).view(coupled.repeats, -1).mean(0))


def _by_gradient(model: nn.Module, shown: Shown) -> Order:
    """Order units by the mean over images of |sum w dloss/dw| over the weights that write them (Molchanov et al. 2019).

    That sum is y dloss/dy over a filter's outputs y: no weight's own gradient is needed for an image.
    """
    require(shown.batches is not None, "batches for score taylor", None, "images, or (images, labels)")
    measured = taylor(model, shown.batches or (), shown.seed)

    def order(coupled: Coupled) -> Path:
        scores = torch.zeros(coupled.units, dtype=torch.float64)
        for name in coupled.written.keys() & measured.keys():
            scores += torch.stack([measured[name][places].sum() for places in coupled.written[name]])
        return _sorted(scores)

    return order


def _by_loss(model: nn.Module, shown: Shown) -> Order:
    """Order units by the predicted rise of the loss when what is left makes up for them (removal.py)."""
    stats = shown.stats
    if stats is None:
        raise ValueError("stats for score loss must be what calibrate(model, batches) saw, got None")
    check_stats(stats, model)
    return lambda coupled: removal_path(coupled, model, stats)


def taylor(model: nn.Module, batches: Iterable[Any], seed: int) -> Mapping[str, Tensor]:
    """Sum over images |y dloss/dy|, y the values of an output, by layer; labels are given or drawn from the softmax."""
    sums: dict[str, Any] = defaultdict(float)
    generator, images = torch.Generator().manual_seed(seed), 0
    with frozen(model), observing(model, gradients=True):
        hooks = [
            layer.register_forward_hook(lambda layer, _, y, name=name: _watch(sums, name, layer, y))
            for name, layer in model.named_modules()
            if observed(layer)
        ]
        try:
            for batch in batches:
                x = images_of(batch, model)
                images += len(x)
                scores = answer(model, x, gradients=True)
                classes = isinstance(scores, Tensor) and scores.ndim == 2
                require(classes, "the network's output", type(scores).__name__, "scores (n, classes) for score taylor")
                log_p = scores.log_softmax(1)
                if isinstance(batch, list | tuple) and len(batch) > 1:
                    labels = batch[1].to(log_p.device)
                else:
                    labels = torch.multinomial(log_p.detach().exp().cpu(), 1, generator=generator).to(log_p.device)
                torch.autograd.backward(-log_p.gather(1, labels.view(-1, 1)).sum())
        finally:
            for hook in hooks:
                hook.remove()
    require(images > 0, "batches", "none", "at least one batch of images")
    return {name: (total / images).cpu() for name, total in sums.items()}


def _watch(sums: dict[str, Any], name: str, layer: nn.Module, y: Tensor) -> None:
    values = y.detach().clone()  # before an activation in place

    def back(gradient: Tensor) -> None:
        product = with_batch(layer, values * gradient)
        product = product.movedim(1, -1) if isinstance(layer, nn.Conv2d) else product
        sums[name] += product.reshape(len(product), -1, product.shape[-1]).sum(1, dtype=torch.float64).abs().sum(0)

    y.register_hook(back)


def _sorted(scores: Tensor) -> Path:
    """Order by scores that add up."""
    least, order = scores.double().sort(stable=True)
    return Path(order.tolist(), [0.0, *least.cumsum(0).tolist()])


CHANNEL_SCORES: dict[str, Callable[[nn.Module, Shown], Order]] = {
    "l1": _by_norm(1),
    "l2": _by_norm(2),
    "taylor": _by_gradient,
    "loss": _by_loss,
}
