"""Notice test images that are training images too: an accuracy on those says nothing of new ones."""

import hashlib
import logging
from collections import defaultdict

import numpy as np

from .dataset import Split
from .stream import Stream

log = logging.getLogger(__name__)
SAMPLE = 200  # test images on disk that are looked up
MOST = 200_000  # training images on disk, up to which their sizes are asked for


def shared(train: Split | Stream, test: Split | Stream) -> tuple[int, int]:
    """(how many test images are training images to the byte, of how many looked at).

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
