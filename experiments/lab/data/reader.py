"""Read batches ahead, in processes of their own where images have to be decoded."""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader

log = logging.getLogger(__name__)


class Batch(NamedTuple):
    """images (n, c, h, w) uint8, labels (n,) int64, how many images were stored in each mode but RGB."""

    images: Tensor
    labels: Tensor
    modes: Counter[str]


class Request(NamedTuple):
    """The places (n,) of the images of a batch and, to train, what was drawn for the augmentation of each."""

    places: Tensor
    draws: Tensor | None


class Images(Protocol):
    """Images give the batch at some places: ValueError or OSError in one sentence where an image cannot be used."""

    def batch(self, places: Tensor, draws: Tensor | None = None) -> Batch:
        """Return the batch of these places, varied by what was drawn."""


class Answers(torch.utils.data.Dataset[Batch | str]):
    """Each request is answered with its batch, or with the sentence of an error, without a worker's traceback."""

    def __init__(self, images: Images) -> None:
        self.images = images

    def __getitem__(self, request: Request) -> Batch | str:
        try:
            return self.images.batch(*request)
        except (ValueError, OSError) as error:
            return str(error)


def cores() -> int:
    """Return how many processes may run at once here; at most 8, beyond which decoding seldom is what limits."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, count)


def _as_it_is(answer: Any) -> Any:
    return answer


class Reader:
    """Iterates over the batches asked for; `workers` processes (None: one for each core) read four batches ahead.

    ValueError in one sentence at the first image that is refused.  At the end of the first pass it is said which
    images were not stored as RGB.
    """

    def __init__(
        self, images: Images, requests: Iterable[Request], workers: int | None, *, pin: bool, keep: bool
    ) -> None:
        self.answers, self.requests, self.reported = Answers(images), requests, False
        workers = cores() if workers is None else workers
        self.loader = None
        if workers:
            self.loader = DataLoader(
                self.answers,
                batch_size=None,  # a request is a batch already
                sampler=requests,
                num_workers=workers,
                collate_fn=_as_it_is,
                pin_memory=pin,
                generator=torch.Generator(),  # of its own: the global one must not depend on how often images are read
                prefetch_factor=4,
                persistent_workers=keep,
            )

    def __iter__(self) -> Iterator[Batch]:
        modes: Counter[str] = Counter()
        count = 0
        answers = map(self.answers.__getitem__, self.requests) if self.loader is None else self.loader
        for batch in answers:
            if isinstance(batch, str):
                raise ValueError(batch)
            count, modes = count + len(batch.labels), modes + batch.modes
            yield batch
        if modes and not self.reported:
            kinds = ", ".join(f"{n} {mode}" for mode, n in modes.most_common())
            log.info("%d of %d images were not RGB and have been converted: %s", modes.total(), count, kinds)
        self.reported = True
