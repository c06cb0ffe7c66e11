"""What calibration knows of each layer of a network, and whether it is of this network."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from checks import require

from ..network import Layer, is_plain

WIDEST = 8192  # of a block of second moments: 512 MiB


class Eigen(NamedTuple):
    """U_G (g, o, o), U_C (g, b, k / b, k / b) and lambda (g, o, k) = E[(u_i^T g_n v_j)^2] of images' own gradients g_n.

    Columns are eigenvectors of the moments `outputs` and `inputs`, the latter less the mean where `takes_mean`.
    """

    outputs: Tensor
    inputs: Tensor
    values: Tensor
    images: int  # how many lambda is taken over; none of those that gave the eigenvectors


class LayerStats(NamedTuple):
    """The moments of one layer's inputs x and of the gradients d of an image's loss at its outputs.

    For g groups, each of o outputs and k = inputs x height x width, the latter in b blocks:
    inputs (g, b, k / b, k / b) = E[x x^T] and mean (g, k) = E[x] over images and positions;
    outputs (g, o, o) = the sum over positions of E[d d^T].

    Example:
        >>> import torch
        >>> from layers import calibrate
        >>> stats = calibrate(nn.Sequential(nn.Linear(2, 3)), [torch.ones(4, 2)])
        >>> stats.layers["0"].mean
        tensor([[1., 1.]], dtype=torch.float64)
    """

    inputs: Tensor
    mean: Tensor
    outputs: Tensor
    rows: int  # how many x these are taken over
    eigen: Eigen | None = None  # where the loss is known and some images were left to show it
    norm: str = ""  # the BatchNorm that alone reads what the layer puts out, where the loss is known


def takes_mean(layer: Layer, norm: str) -> bool:
    """Tell whether a change of the layer's weight need not change its mean output: a bias, or BatchNorm, takes it."""
    return layer.bias is not None or bool(norm)


@dataclass(frozen=True)
class Stats:
    """Second moments by layer name; where not `loss_aware`, `outputs` only know a layer's own power.

    Example:
        >>> Stats({}, images=100, loss_aware=True).images
        100
    """

    layers: Mapping[str, LayerStats]
    images: int
    loss_aware: bool


def observed(layer: nn.Module) -> bool:
    """Tell whether `calibrate` keeps moments of this kind of layer."""
    return is_plain(layer, nn.Conv2d) or is_plain(layer, nn.Linear)


def blocks(layer: Layer) -> int:
    """Count the blocks of whole channels in which the inputs of a layer are kept: one but for wide layers."""
    channels, size = layer.weight.shape[1], layer.weight[0].numel()
    return next(b for b in range(1, channels + 1) if channels % b == 0 and (size // b <= WIDEST or b == channels))


def check_stats(stats: Stats, model: nn.Module) -> None:
    """Refuse the moments of another network: each must be of a layer of this name and these sizes."""
    modules: dict[str, Any] = dict(model.named_modules())
    for name, moments in stats.layers.items():
        layer = modules.get(name)
        known = layer is not None and observed(layer)
        own = (len(layer.weight), layer.weight[0].numel()) if layer is not None and known else None
        sizes = moments.outputs.shape[:2].numel(), moments.mean.shape[1]
        allowed = "of this network: calibrate(model, batches)"
        require(sizes == own, "stats", f"a layer {name!r} of {sizes[0]} outputs and {sizes[1]} inputs", allowed)
        after = getattr(modules.get(moments.norm), "num_features", None) if moments.norm else sizes[0]
        require(after == sizes[0], "stats", f"a layer {name!r} with {moments.norm!r} after it", allowed)
