"""Batches from images in memory, shuffled, shifted and flipped on the device they live on."""

from collections.abc import Iterator

import torch
from torch import Tensor

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


class Batches:
    """(images, labels) batch by batch; training draws a new order and new augmentation each epoch, from the seed."""

    def __init__(self, split: Split, dataset: Dataset, size: int, *, train: bool = False, seed: int = 0) -> None:
        self.split, self.dataset, self.size, self.train = split, dataset, size, train
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.split.labels) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        n = len(self.split.labels)
        order = torch.randperm(n, generator=self.generator) if self.train else torch.arange(n)
        for index in order.split(self.size):
            images, labels = self.split.images[index], self.split.labels[index]
            if self.train:
                images = augment(images, self.dataset.shift, self.dataset.flip, self.generator)
            yield normalise(images, self.dataset), labels
