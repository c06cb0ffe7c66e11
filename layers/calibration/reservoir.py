"""Hold back a part of a stream of images, so that what the others give can be tried on images that gave none of it."""

from collections import defaultdict
from collections.abc import Iterator

import torch
from torch import Tensor

LOT = 2**20  # numbers of the images that are given back together: 64 of CIFAR's, 6 of 224 pixels


class Reservoir:
    """Every other image at first; once there are `most`, a uniform sample of all (Vitter 1985, algorithm R).

    An image that has to leave takes the newcomer's place among those that go on, so each is seen exactly once.

    Example:
        >>> reservoir = Reservoir(1, torch.Generator().manual_seed(0))
        >>> [len(batch) for batch in reservoir.pass_on(torch.zeros(4, 3, 8, 8))], [len(b) for b in reservoir.batches()]
        ([3], [1])
    """

    def __init__(self, most: int, generator: torch.Generator) -> None:
        self.most, self.generator = most, generator
        self.held: list[Tensor] = []
        self.seen = 0

    def pass_on(self, batch: Tensor) -> list[Tensor]:
        """Return the images (n, ...) that are not held back, those of one size together."""
        going = defaultdict(list)
        for image in batch:
            leaving = self._exchange(image)
            if leaving is not None:
                going[leaving.shape].append(leaving)
        return [torch.stack(images) for images in going.values()]

    def _exchange(self, image: Tensor) -> Tensor | None:
        """Return the image, or the one whose place it takes, or None if there was room."""
        self.seen += 1
        if self.seen <= 2 * self.most:
            if self.seen % 2:
                return image
            self.held.append(image.clone())
            return None
        place = int(torch.randint(self.seen, (), generator=self.generator)) if self.most else 0
        if place >= self.most:
            return image
        leaving, self.held[place] = self.held[place], image.clone()
        return leaving

    def batches(self) -> Iterator[Tensor]:
        """Yield what is held, a few images of one size at a time."""
        sizes = defaultdict(list)
        for image in self.held:
            sizes[image.shape].append(image)
        for shape, images in sizes.items():
            lot = max(1, LOT // max(1, shape.numel()))
            for first in range(0, len(images), lot):
                yield torch.stack(images[first : first + lot])
