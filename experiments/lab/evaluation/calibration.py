"""Calibration images: training images drawn by seed, and what the network does with them."""

from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from checks import require
from layers import Stats, calibrate

from ..config import SMALL
from ..data import Dataset, Split, Stream
from ..data.batches import Batches
from ..progress import tracked
from ..training.distributed import rank, world
from .evaluate import together

USUAL, USUAL_LARGE = 2000, 512  # images; a refit holds what all of them are inside the network
BATCH = 128


def drawn(n: int, count: int, seed: int) -> np.ndarray:
    """Draw the places, ascending, of `count` of n images."""
    return np.sort(np.random.default_rng(seed).choice(n, count, replace=False))


def image_count(asked: int | None, images: int, side: int) -> int:
    """Return how many of the training images calibrate; ValueError if more are asked for than there are.

    By default 2,000, or 512 of more than 64 pixels a side, or all there are.
    """
    if asked is None:
        return min(images, USUAL if side <= SMALL else USUAL_LARGE)
    require(1 <= asked <= images, "calibration images", asked, f"1 to {images}, the number of training images")
    return asked


class Calibration:
    """Training images drawn by seed, not augmented, and what the network does with them; each made when asked for.

    With several processes each asks for `stats`, for which it runs its share of the images.
    """

    def __init__(
        self, model: nn.Module, split: Split | Stream, dataset: Dataset, seed: int, device: torch.device | str
    ) -> None:
        self.model, self.split, self.dataset, self.seed, self.device = model, split, dataset, seed, device

    @classmethod
    def draw(
        cls, model: nn.Module, dataset: Dataset, count: int, seed: int, device: torch.device | str
    ) -> "Calibration":
        """Draw `count` training images."""
        train = dataset.calibration()
        return cls(model, train.part(drawn(len(train.labels), count, seed)), dataset, seed, device)

    def _batches(self, rank: int = 0, world: int = 1) -> list[tuple[Tensor, Tensor]]:
        share = -(-len(self.split.labels) // world)
        most = together(self.model, self.split, self.dataset, self.device, BATCH, gradients=True)
        size = -(-share // -(-share // most))  # even: BatchNorm has little to say of a last batch of one image
        return list(Batches(self.split, self.dataset, size, rank=rank, world=world, device=self.device))

    @cached_property
    def batches(self) -> list[tuple[Tensor, Tensor]]:
        """Return all of them in batches, normalised, on the device."""
        self.model.to(self.device)
        return self._batches()

    @cached_property
    def stats(self) -> Stats:
        """Return the second moments of all of them."""
        self.model.to(self.device)
        share = self.batches if world() == 1 else self._batches(rank(), world())
        return calibrate(self.model, tracked(share, "calibrate, batch"), seed=self.seed + rank())
