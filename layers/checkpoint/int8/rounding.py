"""Weights on the grids of 8-bit integers on which a quantiser puts them, rounded so that errors make up for another."""

from collections.abc import Sequence

from torch import Tensor, nn

from ...calibration import MOST_ROWS, calibrate, covariance
from ...factored import grouped_weight
from ...network import Progress, copy_of, ignored
from ...thinning import compensated, largest, put, steps

BITS = 8


def compensated_network(model: nn.Module, images: Sequence[Tensor], progress: Progress = ignored) -> nn.Module:
    """Copy the network, each weight a whole number of 1/127 of the largest of its filter, close in the layer's outputs.

    A quantiser that rounds to the nearest finds nothing to round: what rounding an entry loses, others have made up for
    (Frantar et al. 2023, GPTQ), in the second moments of what the images give to the layer, and the bias for its mean.
    It finds the same steps, for the largest entries stay what they are; and BatchNorm, folded into a filter, scales
    its step as well.

    Args:
        model: any network; layers that no image reaches, that share a weight or whose inputs are wider than `MOST_ROWS`
            stay as they are.
        images: what calibrates it (n, ...).
        progress: called with the name of each layer that has been rounded.

    Returns:
        A copy, in the dtype of the network.

    Raises:
        ValueError: as `calibrate`.
    """
    stats = calibrate(model, images, loss_aware=False)
    small = copy_of(model)
    shared = [id(p) for _, p in small.named_parameters(remove_duplicate=False)]
    for name, seen in stats.layers.items():
        layer = small.get_submodule(name)
        if seen.inputs.shape[-1] > MOST_ROWS or shared.count(id(layer.weight)) != 1:
            continue
        weight = grouped_weight(layer).flatten(2)  # type: ignore[arg-type]
        step = steps(layer.weight, BITS).reshape(*weight.shape[:2], 1)  # type: ignore[arg-type]
        moments = seen.inputs
        if isinstance(layer.bias, Tensor):  # which takes what the mean loses
            moments = covariance(moments, seen.mean.unflatten(1, (moments.shape[1], -1)))
        rounded = compensated(weight, step, largest(BITS), moments, ends_stay=True)
        put(layer, weight, rounded, seen.mean)
        progress(name)
    return small
