"""What calibration knows of each layer of a network, and whether it is of this network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from checks import require

from ..network import Layer, is_plain

WIDEST = 8192  # of a block of second moments: 512 MiB


class LayerStats(NamedTuple):
    """Of a layer with g groups, and per group o outputs and k = inputs x height x width, the latter in b blocks.

    inputs (g, b, k / b, k / b) = E[x x^T] and mean (g, k) = E[x] over images and positions;
    outputs (g, o, o) = the sum over positions of E[d d^T], d the gradient of an image's loss at one position.
    """

    inputs: Tensor
    mean: Tensor
    outputs: Tensor
    rows: int  # x seen


@dataclass(frozen=True)
class Stats:
    """Second moments by layer name; where not `loss_aware`, `outputs` only know a layer's own power."""

    layers: Mapping[str, LayerStats]
    images: int
    loss_aware: bool


def blocks(layer: Layer) -> int:
    """In how many blocks of whole channels the inputs of a wide layer are kept."""
    channels, size = layer.weight.shape[1], layer.weight[0].numel()
    return next(b for b in range(1, channels + 1) if channels % b == 0 and (size // b <= WIDEST or b == channels))


def check_stats(stats: Stats, model: nn.Module) -> None:
    """Refuse the moments of another network: each must be of a layer of this name and these sizes."""
    modules: dict[str, Any] = dict(model.named_modules())
    for name, seen in stats.layers.items():
        layer = modules.get(name)
        known = layer is not None and (is_plain(layer, nn.Conv2d) or is_plain(layer, nn.Linear))
        own = (len(layer.weight), layer.weight[0].numel()) if layer is not None and known else None
        sizes = seen.outputs.shape[:2].numel(), seen.mean.shape[1]
        allowed = "of this network: calibrate(model, batches)"
        require(sizes == own, "stats", f"a layer {name!r} of {sizes[0]} outputs and {sizes[1]} inputs", allowed)
