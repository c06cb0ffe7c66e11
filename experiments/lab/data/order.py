"""Which image is read when, and by which rank: each once an epoch, the same for any number of ranks and workers."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from checks import require


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
    """`size` of n images a batch on each of `world` ranks.

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
