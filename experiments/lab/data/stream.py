"""Images that stay on disk, in files or in tar shards, and are read, decoded and cropped by worker processes."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from .images import decode

log = logging.getLogger(__name__)

SMALL = 64  # pixels a side, up to which an image is seen whole; of larger ones training sees crops


class Source(Protocol):
    """Where images lie: the i-th one's name and bytes."""

    def read(self, i: int) -> tuple[str, bytes]:
        """(name, content of the image file)."""


class Files:
    """Images in files of their own.  The paths are an array: a list's pages would be copied into each worker."""

    def __init__(self, root: Path, paths: Iterable[str]) -> None:
        self.root, self.paths = root, np.array([os.fsencode(path) for path in paths], dtype=np.bytes_)

    def read(self, i: int) -> tuple[str, bytes]:
        """(path, content)."""
        path = self.root / os.fsdecode(self.paths[i])
        return str(path), path.read_bytes()


class Stream(NamedTuple):
    """On disk: images `chosen` (n,) of a source, labels (n,) int64; every image leaves it as (3, size, size) uint8."""

    source: Source
    chosen: np.ndarray
    labels: Tensor
    size: int | None  # None: as stored
    workers: int | None = None  # processes that read it; None: one for each core, at most 8

    def part(self, places: np.ndarray) -> "Stream":
        """Some of the images, by their place in this stream."""
        return self._replace(chosen=self.chosen[places], labels=self.labels[places])


class Batch(NamedTuple):
    """images (n, 3, size, size) uint8, labels (n,) int64, how many images were stored in each mode but RGB."""

    images: Tensor
    labels: Tensor
    modes: Counter[str]


class Views(torch.utils.data.Dataset):
    """(image, label, stored mode) at (place, seed): cropped from the seed alone, whichever process does it.

    Training: RandomResizedCrop and a flip (Szegedy et al. 2015, section 6).  Otherwise the shorter side is resized and
    the centre cut out: 224 of 256 pixels, as for torchvision's weights, but all there is of small images.
    """

    def __init__(self, stream: Stream, train: bool, flip: bool) -> None:
        self.stream, self.train, size = stream, train, stream.size
        self.steps: Callable = v2.functional.pil_to_tensor  # alone, it is thrice as fast as a Compose of nothing else
        if size is not None and train:
            flips = [v2.RandomHorizontalFlip()] if flip else []
            self.steps = v2.Compose([v2.RandomResizedCrop(size), *flips, v2.PILToTensor()])
        elif size is not None:
            resize = v2.Resize(size if size <= SMALL else round(size * 256 / 224))
            self.steps = v2.Compose([resize, v2.CenterCrop(size), v2.PILToTensor()])

    def __getitem__(self, at: tuple[int, int]) -> tuple[Tensor, int, str] | str:
        place, seed = at
        try:
            image, mode = decode(*self.stream.source.read(int(self.stream.chosen[place])))
        except (ValueError, OSError) as error:
            return str(error)  # one sentence; raised here it would reach the user inside a worker's traceback
        label = int(self.stream.labels[place])
        if not self.train:
            return self.steps(image), label, mode
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)  # v2 draws from it
            return self.steps(image), label, mode


def collate(views: list[tuple[Tensor, int, str] | str]) -> Batch | str:
    """Stacked; or the first refusal among them, or why they cannot be stacked."""
    seen = []
    for view in views:
        if isinstance(view, str):
            return view
        seen.append(view)
    images, labels, modes = zip(*seen)
    if len(sizes := sorted({tuple(image.shape[1:]) for image in images})) > 1:
        return f"images must be of one size, got {sizes[:3]}; pass --image-size"
    return Batch(torch.stack(images), torch.tensor(labels), Counter(mode for mode in modes if mode != "RGB"))


def cores() -> int:
    """How many processes may run at once here; at most 8, beyond which decoding seldom is what limits."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, count)


class Reader:
    """Iterates over the batches asked for, lists of (place, seed), decoded by worker processes four batches ahead.

    ValueError in one sentence at the first image that is refused.  At the end of the first pass it is said which
    images were not stored as RGB.
    """

    def __init__(
        self, views: Views, batches: Iterable[list[tuple[int, int]]], workers: int | None, *, pin: bool, keep: bool
    ) -> None:
        workers = cores() if workers is None else workers
        ahead: dict[str, Any] = {"prefetch_factor": 4, "persistent_workers": keep} if workers else {}
        self.loader = DataLoader(
            views,
            batch_sampler=batches,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=pin,
            generator=torch.Generator(),  # of its own: the global one must not depend on how often images are read
            **ahead,
        )
        self.said = False

    def __iter__(self) -> Iterator[Batch]:
        modes: Counter[str] = Counter()
        count = 0
        for batch in self.loader:
            if isinstance(batch, str):
                raise ValueError(batch)
            count, modes = count + len(batch.labels), modes + batch.modes
            yield batch
        if modes and not self.said:
            kinds = ", ".join(f"{n} {mode}" for mode, n in modes.most_common())
            log.info("%d of %d images were not RGB and have been converted: %s", modes.total(), count, kinds)
        self.said = True
