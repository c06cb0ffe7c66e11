"""Images that stay on disk, in files or in tar shards, and are read, decoded and cropped batch by batch."""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from .augmentation import random_crop
from .images import decode
from .preprocessing import Preprocessing
from .reader import Batch


class Source(Protocol):
    """A source says where images lie: the i-th one's name and bytes."""

    def read(self, i: int) -> tuple[str, bytes]:
        """Return (name, content of the image file)."""

    def sizes(self, chosen: np.ndarray) -> np.ndarray:
        """Return the bytes of each of these image files."""


class Files:
    """Images in files of their own.  The paths are an array: a list's pages would be copied into each worker."""

    def __init__(self, root: Path, paths: Iterable[str]) -> None:
        self.root, self.paths = root, np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)

    def read(self, i: int) -> tuple[str, bytes]:
        """Return (path, content)."""
        path = self.root / os.fsdecode(self.paths[i])
        return str(path), path.read_bytes()

    def sizes(self, chosen: np.ndarray) -> np.ndarray:
        """Return the bytes of each of these files."""
        return np.array([(self.root / os.fsdecode(self.paths[i])).stat().st_size for i in chosen], dtype=np.int64)


class Stream(NamedTuple):
    """On disk: images `chosen` (n,) of a source, labels (n,) int64; every image leaves it as (3, size, size) uint8.

    To train it is cropped at random, and mirrored too with `flip`; otherwise padded, resized and cropped as the
    preprocessing says, None of which leaves it as it is stored.
    """

    source: Source
    chosen: np.ndarray
    labels: Tensor
    preprocessing: Preprocessing | None = None
    flip: bool = True
    workers: int | None = None  # processes that read it; None: one for each core, at most 8

    @property
    def sized(self) -> bool:
        """Whether the images have been resized and cropped when they leave it: always."""
        return True

    def part(self, places: np.ndarray) -> "Stream":
        """Return the images at these places."""
        return self._replace(chosen=self.chosen[places], labels=self.labels[places])

    def to(self, device: torch.device) -> "Stream":
        """Return the stream itself: its batches move to the device one by one."""
        return self

    def draws(self, generator: torch.Generator) -> Tensor:
        """Draw (n,) int64: the seed from which each image is cropped, whichever process does it."""
        return torch.randint(2**62, (len(self.labels),), generator=generator)

    def batch(self, places: Tensor, draws: Tensor | None = None) -> Batch:
        """Return the images at these places; ValueError names one that cannot be read, or says that sizes differ."""
        pads = [v2.Pad(self.preprocessing.pad)] if self.preprocessing is not None and self.preprocessing.pad else []
        steps: list[torch.nn.Module] = []
        if self.preprocessing is not None:
            varied = random_crop(self.preprocessing, self.flip) if draws is not None else []
            steps = [*pads, *varied] if varied else self.preprocessing.steps()
        # alone, the last step is thrice as fast as a Compose of nothing else
        view = v2.Compose([*steps, v2.PILToTensor()]) if steps else v2.functional.pil_to_tensor
        images, modes = [], Counter[str]()
        for number, place in enumerate(places.tolist()):
            image, mode = decode(*self.source.read(int(self.chosen[place])))
            modes[mode] += mode != "RGB"
            if draws is None:
                images.append(view(image))
                continue
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(int(draws[number]))  # v2 draws from it
                images.append(view(image))
        sizes = sorted({tuple(image.shape[1:]) for image in images})
        if len(sizes) > 1:
            raise ValueError(f"images must be of one size, got {sizes[:3]}; pass --image-size")
        return Batch(torch.stack(images), self.labels[places], +modes)
