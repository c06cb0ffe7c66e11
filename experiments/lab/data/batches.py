"""Batches for training and evaluation, from memory or from disk, each image once an epoch over all ranks."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torchvision.transforms import v2

from . import Dataset, Split, Stream
from .order import Order
from .stream import Reader, Views


def normalise(images: Tensor, dataset: Dataset) -> Tensor:
    """uint8 (n, c, h, w) -> float32, resized if the dataset says so, less the channel's mean, over its deviation."""
    mean, std = (images.new_tensor(v, dtype=torch.float32)[:, None, None] for v in (dataset.mean, dataset.std))
    floats = (images.float() / 255 - mean) / std
    if dataset.size is None or images.shape[-2:] == (dataset.size, dataset.size):
        return floats
    return v2.functional.resize(floats, [dataset.size, dataset.size], antialias=True)


def augment(images: Tensor, shift: Tensor, mirrored: Tensor) -> Tensor:
    """Image i read from shift[i] = (rows, columns) on, edges filled with zeros, then mirrored if mirrored[i].

    images (n, c, h, w), shift (n, 2) int64, mirrored (n,) bool: RandomCrop with padding and RandomHorizontalFlip with
    a draw for each image, where torchvision's v2 would treat the whole batch alike.
    """
    n, _, h, w = images.shape
    rows = shift[:, :1] + torch.arange(h, device=images.device)
    columns = shift[:, 1:] + torch.arange(w, device=images.device)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    inside = ((rows >= 0) & (rows < h))[:, :, None] & ((columns >= 0) & (columns < w))[:, None, :]
    picked = images[
        torch.arange(n, device=images.device)[:, None, None],
        :,
        rows.clamp(0, h - 1)[:, :, None],
        columns.clamp(0, w - 1)[:, None, :],
    ]
    return picked.movedim(-1, 1) * inside[:, None]


class Batches:
    """(images, labels) batch by batch, `size` on each of `world` ranks, normalised, on `device`.

    Training draws a new order and a new augmentation of each image from (seed, epoch) alone: not from the number of
    ranks or workers, nor from what was drawn before, so that training resumes with `epoch` set to the next one.
    Images in memory move to the device once and stay there; those on disk are read by `workers` processes (None: as
    the stream says) and move as uint8.  ValueError names the first image on disk that cannot be used.
    """

    def __init__(
        self,
        split: Split | Stream,
        dataset: Dataset,
        size: int,
        *,
        train: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        device: torch.device | str = "cpu",
        workers: int | None = None,
    ) -> None:
        self.split, self.dataset, self.device, self.epoch = split, dataset, torch.device(device), 0
        self.order = Order(len(split.labels), size, train, seed, rank, world)
        if isinstance(split, Split):
            self.split = Split(split.images.to(self.device), split.labels.to(self.device))
        else:
            views = Views(split, train, dataset.flip)
            workers, pin = split.workers if workers is None else workers, self.device.type == "cuda"
            self.reader = Reader(views, self.order, workers, pin=pin, keep=train)

    def __len__(self) -> int:
        return len(self.order)

    def _from_memory(self, split: Split) -> Iterator[tuple[Tensor, Tensor]]:
        batches, generator = self.order.draw()
        n, most, flip = self.order.n, self.dataset.shift, self.dataset.flip
        if self.order.train:
            shift = torch.randint(-most, most + 1, (n, 2), generator=generator).to(self.device)
            mirrored = torch.rand(n, generator=generator).to(self.device) < (0.5 if flip else 0)
        for places in batches:
            at = places.to(self.device)
            images, labels = split.images[at], split.labels[at]
            yield augment(images, shift[at], mirrored[at]) if self.order.train else images, labels

    def _from_disk(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.reader:
            yield batch.images.to(self.device, non_blocking=True), batch.labels.to(self.device, non_blocking=True)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        self.order.epoch = self.epoch
        self.epoch += 1
        batches = self._from_memory(self.split) if isinstance(self.split, Split) else self._from_disk()
        for images, labels in batches:
            yield normalise(images, self.dataset), labels
