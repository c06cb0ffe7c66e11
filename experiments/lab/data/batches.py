"""Batches for training and evaluation, from memory or from disk, each image once an epoch over all ranks."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from checks import require

from . import Dataset, Split, Stream
from .reader import Reader, Request


def shares(order: Tensor, size: int, rank: int, world: int) -> list[Tensor]:
    """Cut the order into batches of `size` * world and return one rank's part of each; as many batches on every rank.

    The last batch takes what is left, and joins the one before where it would leave a rank fewer than two images:
    gradients are awaited from every rank, and BatchNorm has no variance of one.
    """
    cuts = list(range(size * world, len(order), size * world))
    if cuts and len(order) - cuts[-1] < 2 * world:
        cuts.pop()
    return [batch.tensor_split(world)[rank] for batch in order.tensor_split(cuts)]


class Draw(NamedTuple):
    """One epoch: the places (m,) int64 of each batch of this rank, and the generator of its augmentation.

    From the generator every rank draws the same augmentation of all n images, whichever of them it reads.
    """

    batches: list[Tensor]
    generator: torch.Generator


class Order:
    """An order divides n images into batches of `size` on each of `world` ranks.

    Training: shuffled by (seed, epoch).  Evaluation: in order, every world-th image is this rank's, none twice.
    """

    def __init__(self, n: int, size: int, train: bool, seed: int, rank: int, world: int) -> None:
        require(not train or n >= world, "training images", n, f"at least one for each of {world} ranks")
        self.n, self.size, self.train, self.seed, self.rank, self.world = n, size, train, seed, rank, world

    def __len__(self) -> int:
        if self.train:
            return len(shares(torch.arange(self.n), self.size, self.rank, self.world))
        return -(-len(range(self.rank, self.n, self.world)) // self.size)

    def draw(self, epoch: int = 0) -> Draw:
        """Draw the batches of an epoch."""
        mixed = np.random.SeedSequence((self.seed, epoch)).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(mixed))
        if self.train:
            order = torch.randperm(self.n, generator=generator)
            return Draw(shares(order, self.size, self.rank, self.world), generator)
        places = torch.arange(self.n)[self.rank :: self.world]  # none where there are fewer images than processes
        return Draw(list(places.split(self.size)) if len(places) else [], generator)


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
    """Batches yield (images, labels), `size` on each of `world` ranks, preprocessed, on `device`.

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
        """Return the number of the next epoch."""
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
