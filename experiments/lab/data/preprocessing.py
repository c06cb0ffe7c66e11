"""What is done to an image before a network sees it: padded, resized, cropped, normalised; chosen and applied here."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, v2

from checks import require

from ..config import SMALL, Data

MODES = {
    "nearest": InterpolationMode.NEAREST_EXACT,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
}
OPTIONS = "--mean, --std, --pad, --resize, --crop, --interpolation"


@dataclass(frozen=True)
class Preprocessing:
    """`pad` zeros on every side, shorter side to `resize`, middle of `crop` x `crop`, then (x / 255 - mean) / std.

    mean and std have a number for each channel.  resize and crop are pixels; None leaves the image as it is.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    pad: int = 0
    resize: int | None = None
    crop: int | None = None
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        require(all(map(isfinite, self.mean)), "mean", self.mean, "finite numbers")
        require(all(isfinite(v) and v > 0 for v in self.std), "std", self.std, "finite numbers above 0")
        for name, value, least in (("pad", self.pad, 0), ("resize", self.resize, 1), ("crop", self.crop, 1)):
            require(value is None or value >= least, name, value, f"at least {least}, or none")
        require(
            self.interpolation in (*MODES, "none"), "interpolation", self.interpolation, f"one of {', '.join(MODES)}"
        )

    @property
    def size(self) -> int | None:
        """Return the pixels a side of every image; None where they stay as they are stored."""
        return self.crop or self.resize

    def steps(self, *, padded: bool = False) -> list[nn.Module]:
        """Return the steps before normalising, of PIL images or tensors (..., h, w); no padding where that is done."""
        steps: list[nn.Module] = [v2.Pad(self.pad)] if self.pad and not padded else []
        if self.resize is not None:
            steps.append(v2.Resize(self.resize, MODES[self.interpolation], antialias=True))
        return [*steps, v2.CenterCrop(self.crop)] if self.crop is not None else steps

    def normalised(self, images: Tensor, *, sized: bool = False) -> Tensor:
        """uint8 (n, c, h, w), padded already, -> float32 as a network sees it; `sized`: resized and cropped already."""
        mean, std = (images.new_tensor(v, dtype=torch.float32)[:, None, None] for v in (self.mean, self.std))
        floats = (images.float() / 255 - mean) / std
        for step in () if sized else self.steps(padded=True):
            floats = step(floats)
        return floats

    def record(self) -> dict[str, Any]:
        """Return its fields, JSON-able, and the sentence: what is kept with a network."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std), "words": str(self)}

    def __str__(self) -> str:
        plain = not any(self.mean) and set(self.std) == {1.0}
        parts = ["pixels from 0 to 1"]
        parts += [f"{self.pad} pixels of zeros on every side"] if self.pad else []
        parts += [f"shorter side resized to {self.resize} pixels ({self.interpolation})"] if self.resize else []
        parts += [f"the middle {self.crop} x {self.crop} cut out"] if self.crop else []
        mean, std = (" ".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return "; ".join([*parts, "not normalised" if plain else f"less the mean {mean}, over the deviation {std}"])


def seen_whole(mean: tuple[float, ...], std: tuple[float, ...], size: int | None, pad: int = 0) -> Preprocessing:
    """Show all of each small image, resized to `size` pixels a side if that is given."""
    return Preprocessing(mean, std, pad, resize=size)


def cut_from_the_middle(mean: tuple[float, ...], std: tuple[float, ...], size: int) -> Preprocessing:
    """Show 224 of 256 pixels of images on disk, as for most of torchvision's weights, but all of small images."""
    return Preprocessing(mean, std, resize=size if size <= SMALL else round(size * 256 / 224), crop=size)


def chosen(data: Data, usual: Preprocessing) -> Preprocessing:
    """Change a dataset's usual preprocessing as the options say; ValueError for what does not fit its channels."""
    changes: dict[str, Any] = {}
    channels = len(usual.mean)
    for name, value, none in (("mean", data.mean, 0.0), ("std", data.std, 1.0)):
        if value is not None:
            numbers: Sequence[float] = (none,) * channels if value == "none" else tuple(value)
            allowed = f"{channels} numbers, one for each channel, or none" if channels > 1 else "one number, or none"
            require(len(numbers) == channels, name, numbers, allowed)
            changes[name] = tuple(numbers)
    for name, size in (("pad", data.pad), ("resize", data.resize), ("crop", data.crop)):
        if size is not None:
            changes[name] = (0 if name == "pad" else None) if size == "none" else size
    if data.interpolation is not None:
        changes["interpolation"] = data.interpolation
    if data.interpolation == "none":
        given = [name for name in ("image_size", "resize") if getattr(data, name) not in (None, "none")]
        require(not given, "interpolation", "none", f"left out with {', '.join(given)}, which resizes")
        changes = {"crop": None} | changes | {"resize": None}
    return replace(usual, **changes)
