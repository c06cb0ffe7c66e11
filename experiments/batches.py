"""Batches from images in memory, shuffled, shifted and flipped on the device they live on."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from checks import need

from .data import Dataset, Split


def normalise(images: Tensor, dataset: Dataset) -> Tensor:
    """uint8 (n, c, h, w) -> float32, each channel less its mean, over its standard deviation."""
    mean, std = (images.new_tensor(v, dtype=torch.float32)[:, None, None] for v in (dataset.mean, dataset.std))
    return (images.float() / 255 - mean) / std


def augment(images: Tensor, most: int, flip: bool, generator: torch.Generator) -> Tensor:
    """Each image shifted by up to `most` pixels each way, edges filled with zeros, and mirrored at random if `flip`."""
    n, _, h, w = images.shape
    shift = [torch.randint(-most, most + 1, (n, 1), generator=generator) for _ in range(2)]
    rows, columns = (s + torch.arange(side) for s, side in zip(shift, (h, w)))
    if flip:
        mirrored = torch.rand(n, 1, generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    rows, columns = rows.to(images.device), columns.to(images.device)
    inside = ((rows >= 0) & (rows < h))[:, :, None] & ((columns >= 0) & (columns < w))[:, None, :]
    picked = images[
        torch.arange(n, device=images.device)[:, None, None],
        :,
        rows.clamp(0, h - 1)[:, :, None],
        columns.clamp(0, w - 1)[:, None, :],
    ]
    return picked.movedim(-1, 1) * inside[:, None]


def mixed_seed(*numbers: int) -> int:
    """One seed from several, such that neighbours share nothing: (0, 1) and (1, 0) differ."""
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class Batches:
    """(images, labels) batch by batch, one process's share of them.

    Training draws a new order and new augmentation each epoch, from the seed and the number of the epoch alone, so that
    a run can go on where it was stopped; the processes share each step's `world * size` images, and where there is
    more than one, images that do not fill a last step are left to the next epoch's order.  Without `train` every image
    comes exactly once in exactly one process, in as many batches in each.
    """

    def __init__(
        self,
        split: Split,
        dataset: Dataset,
        size: int,
        *,
        train: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.split, self.dataset, self.size, self.train, self.seed = split, dataset, size, train, seed
        self.rank, self.world, self.epoch = rank, world, 0
        least = world * size if train and world > 1 else world
        allowed = f"at most {len(split.labels)} images in all {world} processes together"
        need(world == 1 or len(split.labels) >= least, "batch size", f"{least} together", allowed)

    def __len__(self) -> int:
        n, together = len(self.split.labels), self.size * self.world
        return n // together if self.train and self.world > 1 else -(-n // together)

    def set_epoch(self, epoch: int) -> None:
        """What is drawn from when the first batch is next asked for."""
        self.epoch = epoch

    def _shares(self) -> Iterable[Tensor]:
        n = len(self.split.labels)
        if not self.train:
            return torch.arange(n)[self.rank :: self.world].tensor_split(len(self))
        order = torch.randperm(n, generator=torch.Generator().manual_seed(mixed_seed(self.seed, self.epoch)))
        steps = order.split(self.size * self.world)[: len(self)]
        return (step[self.rank * self.size :][: self.size] for step in steps)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(mixed_seed(self.seed, self.epoch, self.rank, 1))
        for index in self._shares():
            images, labels = self.split.images[index], self.split.labels[index]
            if self.train:
                images = augment(images, self.dataset.shift, self.dataset.flip, generator)
            yield normalise(images, self.dataset), labels
