"""Read one call of a layer from its hook, however the network called it, and what a network answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from checks import require

NAMES = ("logits", "scores", "out", "output", "prediction_logits")  # under which networks put their scores
BATCHED = 2  # axes of a convolution's input that are not spatial: images and channels


def input_of(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
    """The input of a layer that was called as layer(x) or as layer(input=x)."""
    x: Tensor = args[0] if args else kwargs["input"]
    return x


def with_batch(layer: nn.Module, x: Tensor) -> Tensor:
    """x (n, ...) of a layer's input or output; n = 1 is put before one that has none, as torch's layers allow."""
    axes = x.ndim if isinstance(layer, nn.Linear) else x.ndim - len(layer.kernel_size)  # type: ignore[arg-type]
    return x[None] if axes < BATCHED else x


def check_batched(images: Tensor, layer: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Refuse `images` that are one image without a batch axis: a convolution takes it, and its channels for images.

    To be called before the convolution, as its hook.
    """
    axes = len(layer.kernel_size) + 1  # type: ignore[arg-type]  # torch types every attribute as Tensor | Module
    lone = input_of(args, kwargs).ndim == images.ndim == axes
    require(not lone, "images", tuple(images.shape), "a batch (n, channels, ...): images[None] for a single one")


def class_scores(answered: Any) -> Tensor | None:
    """Return the scores (n, classes) in what a network answers, or None where there are none.

    A tensor is its own; of a tuple or list the first of two axes, of a dictionary one of NAMES, else the first of two
    axes.  A tensor of one axis, as squeeze() leaves of a single image, stands for one image's scores where it is alone.

    Example:
        >>> import torch
        >>> class_scores({"features": torch.ones(2, 3, 4), "logits": torch.ones(2, 5)}).shape
        torch.Size([2, 5])
        >>> class_scores((torch.ones(2, 3, 8, 8),)) is None
        True
    """
    if isinstance(answered, Tensor):
        return answered if answered.ndim in (1, 2) else None
    if isinstance(answered, Mapping):
        named = [answered[name] for name in NAMES if name in answered]
        values = [*named, *answered.values()]
    elif isinstance(answered, list | tuple):
        values = [*answered]
    else:
        return None
    return next((value for value in values if isinstance(value, Tensor) and value.ndim == 2), None)
