"""Batches for training and evaluation, from memory or from disk, each image once an epoch over all ranks."""

from collections.abc import Iterator

import torch
from torch import Tensor

from . import Dataset, Split, Stream
from .order import Order
from .reader import Reader, Request


class Epochs:
    """The requests of one epoch each time it is iterated over, beginning with the one numbered `epoch`."""

    def __init__(self, split: Split | Stream, order: Order) -> None:
        self.split, self.order, self.epoch = split, order, 0

    def __iter__(self) -> Iterator[Request]:
        batches, generator = self.order.draw(self.epoch)
        self.epoch += 1
        draws = self.split.draws(generator) if self.order.train else None
        for places in batches:
            yield Request(places, None if draws is None else draws[places])


class Batches:
    """(images, labels) batch by batch, `size` on each of `world` ranks, preprocessed, on `device`.

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
        self.preprocessing, self.device = dataset.preprocessing, torch.device(device)
        self.split = split.to(self.device)
        self.epochs = Epochs(self.split, Order(len(split.labels), size, train, seed, rank, world))
        pin = isinstance(split, Stream) and self.device.type == "cuda"
        if workers is None or isinstance(split, Split):
            workers = split.workers
        self.reader = Reader(self.split, self.epochs, workers, pin=pin, keep=train)

    @property
    def epoch(self) -> int:
        """The number of the next epoch."""
        return self.epochs.epoch

    @epoch.setter
    def epoch(self, number: int) -> None:
        self.epochs.epoch = number

    def __len__(self) -> int:
        return len(self.epochs.order)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for batch in self.reader:
            images, labels = (tensor.to(self.device, non_blocking=True) for tensor in (batch.images, batch.labels))
            yield self.preprocessing.normalised(images, sized=self.split.sized), labels
