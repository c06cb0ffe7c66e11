"""What a dataset is: three splits, in memory or read from disk batch by batch, and how its images are treated."""

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Collection
from functools import cache
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from sklearn.model_selection import train_test_split
from torch import Tensor

from checks import require

from ..config import Data
from .augmentation import draw_moves, move
from .preprocessing import Preprocessing
from .reader import Batch
from .stream import Stream

log = logging.getLogger(__name__)

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Split(NamedTuple):
    """In memory: images (n, c, h, w) uint8, labels (n,) int64; to train an image is moved by up to `shift` pixels.

    `flip` says whether a mirrored image keeps its class; `sized`, whether the images have been resized and cropped.
    """

    images: Tensor
    labels: Tensor
    shift: int = 0
    flip: bool = False
    sized: bool = False
    workers: int = 0  # processes that read it: none

    def part(self, places: np.ndarray) -> "Split":
        """Return the images at these places."""
        return self._replace(images=self.images[places], labels=self.labels[places])

    def to(self, device: torch.device) -> "Split":
        """Return the split on a device, where it stays."""
        return self._replace(images=self.images.to(device), labels=self.labels.to(device))

    def draws(self, generator: torch.Generator) -> Tensor:
        """Draw (n, 3) int64: how each image is moved and mirrored."""
        return draw_moves(len(self.labels), self.shift, self.flip, generator)

    def batch(self, places: Tensor, draws: Tensor | None = None) -> Batch:
        """Return the images at these places, moved and mirrored as was drawn."""
        at = places.to(self.images.device)
        images, labels = self.images[at], self.labels[at]
        if draws is not None:
            draws = draws.to(self.images.device)
            images = move(images, draws[:, :2], draws[:, 2] > 0)
        return Batch(images, labels, Counter())


S = TypeVar("S", bound=Split | Stream)
Splits = tuple[Callable[[], Split | Stream], Callable[[], Split | Stream], Callable[[], Split | Stream]]


class Dataset(NamedTuple):
    """Splits are read when they are asked for: an evaluation never opens the training images."""

    train: Callable[[], Split | Stream]
    val: Callable[[], Split | Stream]
    test: Callable[[], Split | Stream]
    classes: list[str]
    preprocessing: Preprocessing
    epochs: int  # that usually suffice
    unlabelled: Callable[[], Split | Stream] | None = None  # images that calibrate, where they are no training images

    @property
    def calibration(self) -> Callable[[], Split | Stream]:
        """Return what reads the images that calibrate; their labels, if they have any, are not read."""
        return self.unlabelled or self.train

    def facts(self) -> dict[str, str]:
        """Return what a file of a network tells of its images: its classes and their preprocessing, as JSON."""
        return {"classes": json.dumps(self.classes), "preprocessing": json.dumps(self.preprocessing.record())}

    @property
    def channels(self) -> int:
        """Return the number of channels of every image."""
        return len(self.preprocessing.mean)


def check_classes(labels: Tensor, classes: list[str], where: str) -> None:
    """Refuse a class without images, by name."""
    for name, count in zip(classes, np.bincount(labels.numpy(), minlength=len(classes))):
        require(count > 0, f"class {name!r} in {where}", "no image", "a class with images")


def halves(
    split: S, classes: list[str], part: float, seed: int, purpose: str = "to train and to validate"
) -> tuple[S, S]:
    """Divide a split into (rest, part), drawn by seed with the classes in the same proportions, each in its order.

    Every class of which there are images gives at least one to either side; ValueError names one that has too few.
    """
    for name, count in zip(classes, np.bincount(split.labels.numpy(), minlength=len(classes))):
        require(count != 1, f"class {name!r}", str(count), f"one of 2 images or more, {purpose}")
    size = max(math.ceil(part * len(split.labels)), len(split.labels.unique()))
    places = np.arange(len(split.labels))
    rest, drawn = train_test_split(places, test_size=size, random_state=seed, stratify=split.labels.numpy())
    # mypy forgets that `part` gives a split of its own kind
    return split.part(np.sort(rest)), split.part(np.sort(drawn))  # type: ignore[return-value]


def divide(get: Callable[[str], S], there: Collection[str], classes: list[str], part: float, seed: int) -> Splits:
    """Make train, val and test from the parts that are there, each read by `get` once, when it is asked for.

    train, val and test: as they are.  Without test, val is the test set.  Where val is missing, or taken for the test
    set, a part of train validates.  With only "all", a seeded fifth becomes the test set and a part of the rest
    validates; this is logged.
    """
    get = cache(get)

    @cache
    def tested() -> tuple[S, S]:
        log.info("no part of the images is named test: a fifth of them, drawn by seed, is the test set")
        return halves(get("all"), classes, 0.2, seed, "some of them to test")

    if "all" in there:
        rest = cache(lambda: halves(tested()[0], classes, part, seed))
        return lambda: rest()[0], lambda: rest()[1], lambda: tested()[1]
    if {"val", "test"} <= set(there):
        return lambda: get("train"), lambda: get("val"), lambda: get("test")
    both = cache(lambda: halves(get("train"), classes, part, seed))
    return lambda: both()[0], lambda: both()[1], lambda: get("test" if "test" in there else "val")


def existing(data: Data) -> Path:
    """Return the data root; ValueError if it is not given or no folder."""
    require(data.data_root is not None, "data root", None, f"given for dataset {data.dataset}: pass --data-root")
    assert data.data_root is not None
    require(data.data_root.is_dir(), "data root", str(data.data_root), "a folder that exists")
    return data.data_root
