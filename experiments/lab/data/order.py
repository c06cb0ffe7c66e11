"""Which image is read when, and by which rank: each once an epoch, the same for any number of ranks and workers."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from checks import require


def shares(order: Tensor, size: int, rank: int, world: int) -> list[Tensor]:
    """One rank's training batches: of every `size` * world images in order, its part; as many batches on every rank.

    The last batch takes what is left, and joins the one before where it would leave a rank fewer than two images:
    gradients are awaited from every rank, and BatchNorm has no variance of one.
    """
    cuts = list(range(size * world, len(order), size * world))
    if cuts and len(order) - cuts[-1] < 2 * world:
        cuts.pop()
    return [batch.tensor_split(world)[rank] for batch in order.tensor_split(cuts)]


class Draw(NamedTuple):
    """One epoch: the places (m,) int64 of each batch of this rank; randomness for all n images, whoever reads them."""

    batches: list[Tensor]
    generator: torch.Generator


class Order:
    """`size` of n images a batch on each of `world` ranks.

    Training: shuffled by (seed, epoch).  Evaluation: in order, every world-th image is this rank's, none twice.
    """

    def __init__(self, n: int, size: int, train: bool, seed: int, rank: int, world: int) -> None:
        require(not train or n >= world, "training images", n, f"at least one for each of {world} ranks")
        self.n, self.size, self.train, self.seed, self.rank, self.world = n, size, train, seed, rank, world
        self.epoch = 0  # the one that `draw` draws

    def __len__(self) -> int:
        if self.train:
            return len(shares(torch.arange(self.n), self.size, self.rank, self.world))
        return -(-len(range(self.rank, self.n, self.world)) // self.size)

    def draw(self) -> Draw:
        """This epoch's batches and what is left of its randomness."""
        mixed = np.random.SeedSequence((self.seed, self.epoch)).generate_state(1, np.uint64)[0]
        generator = torch.Generator().manual_seed(int(mixed))
        if self.train:
            order = torch.randperm(self.n, generator=generator)
            return Draw(shares(order, self.size, self.rank, self.world), generator)
        mine = torch.arange(self.n)[self.rank :: self.world]  # none where there are fewer images than processes
        return Draw(list(mine.split(self.size)) if len(mine) else [], generator)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        """Batches of (place, seed), for the workers that read and crop."""
        batches, generator = self.draw()
        seeds = torch.randint(2**62, (self.n,), generator=generator)
        for places in batches:
            yield list(zip(places.tolist(), seeds[places].tolist()))
