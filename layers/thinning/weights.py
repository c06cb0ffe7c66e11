"""Unstructured pruning: W = mask * V, the mask chosen once over the whole network, V trained on; zeros stay zero."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import prune as torch_prune

from checks import require

from ..coded import Decoded, check_plain_weights, code
from ..network import check_untied, weighted

Score = Callable[[Tensor], Tensor]  # weight -> a score of each entry, in its shape; the lowest of all layers are pruned


def magnitude(weight: Tensor) -> Tensor:
    """|w| (Han et al. 2015)."""
    return weight.abs()


def lamp(weight: Tensor) -> Tensor:
    """w^2 over the sum of v^2 of all v of the layer that are at least as large in magnitude (Lee et al. 2021).

    The largest entry of each layer has score 1, so that no layer is pruned whole.
    """
    square, order = weight.flatten().square().sort()
    above = square.flip(0).cumsum(0).flip(0).clamp_min(torch.finfo(square.dtype).tiny)
    return torch.empty_like(square).scatter_(0, order, square / above).reshape(weight.shape)


class Masked(Decoded):
    """V * mask: what is masked is zero, has no gradient, and stays zero however V is trained."""

    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask)

    def right_inverse(self, weight: Tensor) -> Tensor:
        """V = W."""
        return weight

    def decode(self, *arrays: Tensor) -> Tensor:
        """W, of V."""
        return arrays[0] * self.mask


def masks(
    model: nn.Module,
    fraction: float,
    score: str = "l1",
    kinds: type[nn.Module] | tuple[type[nn.Module], ...] = nn.Module,
) -> dict[str, Tensor]:
    """Choose for each Conv2d and Linear a mask, by name: 0 for the fraction of all weights with the lowest scores.

    ValueError for a fraction that is not between 0 and 1, an unknown score, a network without such layers, or with tied
    or parametrised ones.
    """
    require(0 < fraction < 1, "fraction to prune", fraction, "above 0 and below 1")
    require(score in SCORES, "score", score, f"one of {', '.join(SCORES)}")
    layers = weighted(model, kinds)
    require(bool(layers), "model", type(model).__name__, "one with convolutions or Linear layers to prune")
    check_untied(model, layers, "prune")
    check_plain_weights(layers, "prune")
    scores = {name: SCORES[score](_weight(layer)) for name, layer in layers.items()}
    flat = torch.cat([layer_scores.flatten() for layer_scores in scores.values()])
    keep = torch_prune.L1Unstructured(fraction).compute_mask(flat, torch.ones_like(flat))
    parts = keep.split([layer_scores.numel() for layer_scores in scores.values()])
    return {name: part.reshape(layer_scores.shape) for part, (name, layer_scores) in zip(parts, scores.items())}


def mask(model: nn.Module, chosen: dict[str, Tensor]) -> nn.Module:
    """Give the weights these masks, in place; `layers.fold` makes plain weights with zeros of them.

    ValueError for a weight that is tied to another, which would stay as it is, or parametrised by others.
    """
    check_untied(model, chosen, "prune")
    check_plain_weights({name: model.get_submodule(name) for name in chosen}, "prune")
    for name, layer_mask in chosen.items():
        code(model.get_submodule(name), Masked(layer_mask))
    return model


def zeros(model: nn.Module) -> dict[str, float]:
    """Count the fraction of weights that are zero, by name of each Conv2d and Linear."""
    return {name: float((_weight(layer) == 0).double().mean()) for name, layer in weighted(model, nn.Module).items()}


def _weight(layer: nn.Module) -> Tensor:
    """The weight that the layer computes with, whatever makes it."""
    weight = layer.weight
    assert isinstance(weight, Tensor)
    return weight.detach()


SCORES: dict[str, Score] = {"l1": magnitude, "lamp": lamp}
