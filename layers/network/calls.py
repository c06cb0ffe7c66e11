"""Read one call of a layer from its hook, however the network called it."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from checks import require

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
