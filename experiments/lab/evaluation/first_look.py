"""Look at a trained network and at its images before anything is made of them, and warn of what is likely a mistake."""

import hashlib
import logging
from collections import defaultdict

import numpy as np
import torch
from torch import nn

from ..data import Dataset, Split, Stream
from ..data.preprocessing import OPTIONS
from .evaluate import accuracy

log = logging.getLogger(__name__)
LOOK, NEAR = 200, 0.15  # test images that are looked at; the share of the way from a guess to 100 % that is still near
SAMPLE = 200  # test images on disk that are looked up
MOST = 200_000  # training images on disk, up to which their sizes are asked for


def warn_near_chance(model: nn.Module, dataset: Dataset, device: torch.device | str) -> None:
    """Say so, with the preprocessing in use, where a trained network is hardly better than a guess.

    It sees up to LOOK test images, evenly over all; a guess names their commonest class.  Nothing is chosen by it.
    """
    test = dataset.test()
    places = np.unique(np.linspace(0, len(test.labels) - 1, LOOK).astype(int))
    images = test.part(places)
    top1 = accuracy(model, images, dataset, device).top1
    guess = 100 * float(torch.bincount(images.labels).max()) / len(places)
    if top1 < guess + NEAR * (100 - guess):
        log.warning(
            "WARNING: the trained network names the class of %.1f %% of %d test images, a guess %.1f %%. Does it see "
            "images as it was trained? Here they are: %s. See the options %s.",
            top1,
            len(places),
            guess,
            dataset.preprocessing,
            OPTIONS,
        )


def shared(train: Split | Stream, test: Split | Stream) -> tuple[int, int]:
    """Return (how many test images are training images to the byte, of how many looked at).

    In memory all are compared by their pixels.  On disk a sample is, evenly over the test images: by the size of the
    file, then by its hash with the training images of that size and class.  (0, 0) of more files than MOST.
    """
    if isinstance(train, Split) and isinstance(test, Split):
        known = {hash(image.tobytes()) for image in train.images.cpu().numpy()}
        return sum(hash(image.tobytes()) in known for image in test.images.cpu().numpy()), len(test.labels)
    if isinstance(train, Split) or isinstance(test, Split) or len(train.labels) > MOST:
        return 0, 0
    places = np.unique(np.linspace(0, len(test.labels) - 1, SAMPLE).astype(int))
    alike = defaultdict(list)
    for place, key in enumerate(zip(train.labels.tolist(), train.source.sizes(train.chosen).tolist())):
        alike[key].append(place)
    looked_up = test.part(places)
    keys = zip(looked_up.labels.tolist(), looked_up.source.sizes(looked_up.chosen).tolist())
    copies = [
        any(_hash(looked_up, i) == _hash(train, place) for place in alike[key][:SAMPLE]) for i, key in enumerate(keys)
    ]
    return sum(copies), len(copies)


def warn_of_shared(train: Split | Stream, test: Split | Stream) -> None:
    """Say how many test images are training images too, where that is more than one in a hundred.

    Public datasets have a few such images by nature.
    """
    copies, images = shared(train, test)
    if copies > images / 100:
        log.warning(
            "%d of %d test images are training images too, to the byte: their accuracy says nothing of new images",
            copies,
            images,
        )


def _hash(stream: Stream, place: int) -> bytes:
    return hashlib.sha256(stream.source.read(int(stream.chosen[place]))[1]).digest()
