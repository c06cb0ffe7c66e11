"""Batches from images in memory, shuffled, shifted and flipped on the device they live on."""

from collections.abc import Iterator

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


def shares(order: Tensor, size: int, rank: int, world: int) -> list[Tensor]:
    """One process's training batches: of every `size` * world images in order, its part; as many batches in each.

    The last batch takes what is left, and joins the one before where it would leave a process fewer than two images:
    gradients are awaited from every process, and BatchNorm has no variance of one.
    """
    cuts = list(range(size * world, len(order), size * world))
    if cuts and world > 1 and len(order) - cuts[-1] < 2 * world:
        cuts.pop()
    return [batch.tensor_split(world)[rank] for batch in order.tensor_split(cuts)]


class Batches:
    """(images, labels) batch by batch, `size` in each of `world` processes.

    Training draws a new order and new augmentation each epoch, from the seed and the number of the epoch alone: a run
    that was stopped goes on with `epoch` set.  Without `train` every image comes exactly once, in one process.
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
        need(len(split.labels) >= world, "images", len(split.labels), f"at least one for each of {world} processes")

    def _indices(self, generator: torch.Generator) -> list[Tensor]:
        n = len(self.split.labels)
        if self.train:
            return shares(torch.randperm(n, generator=generator), self.size, self.rank, self.world)
        return list(torch.arange(self.rank, n, self.world).split(self.size))

    def __len__(self) -> int:
        return len(self._indices(torch.Generator()))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        mixed = np.random.SeedSequence((self.seed, self.epoch)).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(mixed))
        self.epoch += 1
        for index in self._indices(generator):
            images, labels = self.split.images[index], self.split.labels[index]
            if self.train:
                images = augment(images, self.dataset.shift, self.dataset.flip, generator)
            yield normalise(images, self.dataset), labels
