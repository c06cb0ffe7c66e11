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
        return arrays[0] * self.mask + 0.0  # -0 would be kept as a number of its own


def masks(
    model: nn.Module,
    fraction: float,
    score: str = "l1",
    kinds: type[nn.Module] | tuple[type[nn.Module], ...] = nn.Module,
    *,
    per_layer: bool = False,
) -> dict[str, Tensor]:
    """Choose for each Conv2d and Linear a mask, by name: 0 for the fraction of the weights with the lowest scores.

    Args:
        model: any network, which is left as it is; its weights that are zero already have the lowest scores.
        fraction: the share of weights, above 0 and below 1.
        score: l1 (the smallest), or lamp (the smallest against the larger ones of their layer).
        kinds: the kinds of layers that are pruned, among Conv2d and Linear.
        per_layer: whether each layer loses this share of its own weights, instead of all layers together.

    Returns:
        Name -> mask in the shape of the weight.

    Raises:
        ValueError: for a fraction that is not between 0 and 1, an unknown score, a share that would leave a layer no
            weight, by its name, and a network without such layers, or with tied or parametrised ones.

    Example:
        >>> layer = nn.Linear(2, 2)
        >>> _ = layer.weight.data.copy_(torch.tensor([[1.0, -4.0], [3.0, -2.0]]))
        >>> masks(nn.Sequential(layer), 0.5)["0"]
        tensor([[0., 1.],
                [1., 0.]])
    """
    require(0 < fraction < 1, "fraction to prune", fraction, "above 0 and below 1")
    require(score in SCORES, "score", score, f"one of {', '.join(SCORES)}")
    layers = weighted(model, kinds)
    require(bool(layers), "model", type(model).__name__, "one with convolutions or Linear layers to prune")
    check_untied(model, layers, "prune")
    check_plain_weights(layers, "prune")
    scores = {name: SCORES[score](_weight(layer)) for name, layer in layers.items()}
    if per_layer:
        chosen = {name: _keep(layer_scores, fraction) for name, layer_scores in scores.items()}
    else:
        flat = torch.cat([layer_scores.flatten() for layer_scores in scores.values()])
        parts = _keep(flat, fraction).split([layer_scores.numel() for layer_scores in scores.values()])
        chosen = {name: part.reshape(scores[name].shape) for part, name in zip(parts, scores)}
    empty = [name for name, keep in chosen.items() if not bool(keep.any())]
    allowed = f"small enough to leave layer {empty[0]!r} a weight" if empty else ""
    require(not empty, "fraction to prune", fraction, allowed)
    return chosen


def _keep(scores: Tensor, fraction: float) -> Tensor:
    """0 for this share of the scores, the lowest, else 1."""
    mask: Tensor = torch_prune.L1Unstructured(fraction).compute_mask(scores, torch.ones_like(scores))
    return mask


def gradual(epoch: int, epochs: int, fraction: float) -> float:
    """fraction (1 - (1 - t)^3), t = (epoch + 1) / epochs: the share to have pruned in epoch 0, 1, ..., epochs - 1.

    Many weights go early, while others can still make up for them, few at the end (Zhu & Gupta 2017, eq. 1, from none).

    Example:
        >>> [round(gradual(epoch, 4, 0.8), 3) for epoch in range(4)]
        [0.463, 0.7, 0.788, 0.8]
    """
    require(0 <= epoch < epochs, "epoch", epoch, f"from 0 to {epochs - 1}")
    require(0 < fraction < 1, "fraction to prune", fraction, "above 0 and below 1")
    return fraction * (1 - (1 - (epoch + 1) / epochs) ** 3)


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
