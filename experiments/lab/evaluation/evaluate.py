"""Measure networks: accuracy on a split, latency side by side."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from layers import Timing, interleaved
from layers.costs import forward, images_at_once
from layers.network import evaluating

from ..config import SMALL
from ..data import Dataset, Split, Stream
from ..data.batches import Batches
from ..models import reason
from ..progress import stage, tracked
from ..refusals import out_of_memory

MOST = 500  # images at once


TIMES = {"": "median", "_low": "low", "_high": "high", "_noisy": "busy"}  # ending of a column -> field of a Timing


class Judged(NamedTuple):
    """State of each of n images whether its class is the likeliest, or of the five likeliest, and the cross-entropy."""

    first: Tensor
    five: Tensor
    losses: Tensor


class Accuracy(NamedTuple):
    """Percent of images whose class is the likeliest, or among the five likeliest, and the mean cross-entropy."""

    top1: float
    top5: float
    loss: float

    @classmethod
    def of(cls, judged: Judged) -> "Accuracy":
        """Average over the images."""
        top1, top5 = (100 * int(hits.sum()) / len(hits) for hits in (judged.first, judged.five))
        return cls(top1, top5, float(judged.losses.mean()))


def accuracy(model: nn.Module, split: Split | Stream, dataset: Dataset, device: torch.device | str) -> Accuracy:
    """Measure on every image of the split once, in eval mode; the model is moved to the device."""
    return Accuracy.of(judge(model, split, dataset, device))


def judge(model: nn.Module, split: Split | Stream, dataset: Dataset, device: torch.device | str) -> Judged:
    """Judge every image of the split once, as `accuracy` does, which is the mean of it."""
    model.to(device)
    places, losses = [], []
    size = together(model, split, dataset, device, MOST)
    with evaluating(model):
        for images, labels in tracked(Batches(split, dataset, size, device=device), "evaluate, batch"):
            y = _logits(model, images).float()
            hits = y.topk(min(5, y.shape[1])).indices == labels[:, None]
            places.append(torch.stack([hits[:, 0], hits.any(1)]).cpu())
            losses.append(cross_entropy(y, labels, reduction="none").double().cpu())
    first, five = torch.cat(places, 1)
    return Judged(first, five, torch.cat(losses))


def together(
    model: nn.Module,
    split: Split | Stream,
    dataset: Dataset,
    device: torch.device | str,
    most: int,
    gradients: bool = False,
) -> int:
    """Return how many images of a split go through a network at once: small ones `most`, of others what memory takes.

    By what the first image takes inside the network (layers.costs.images_at_once).
    """
    first = next(iter(Batches(split.part(np.arange(1)), dataset, 1, device=device, workers=0)))[0]
    if first.shape[-1] <= SMALL:
        return most
    try:
        return images_at_once(model, first, most, gradients)
    except ValueError:
        raise
    except Exception as error:  # a network of the user's
        if out_of_memory(error):
            raise
        raise ValueError(
            f"model must answer a batch of {'x'.join(map(str, first.shape))}, got {reason(error)}"
        ) from error


def _logits(model: nn.Module, images: Tensor) -> Tensor:
    """Return what the network answers; ValueError in one sentence where code of the user's raises."""
    try:
        return model(images)
    except Exception as error:  # whatever a network of the user's raises, which took one image and not so many
        if out_of_memory(error):
            raise
        shape = "x".join(map(str, images.shape))
        raise ValueError(f"model must answer a batch of {shape}, got {reason(error)}") from error


def latencies(
    models: Mapping[str, nn.Module], x: Tensor, batches: Sequence[int], rounds: int = 30
) -> dict[int, dict[str, Timing]]:
    """Return batch size -> name -> seconds per forward pass of the first images of x, every model in turn."""
    with ExitStack() as modes:
        for model in models.values():
            modes.enter_context(evaluating(model.to(x.device)))
        timings = {}
        for batch in batches:
            part = x[:batch].contiguous()
            calls = {name: forward(model, part) for name, model in models.items()}
            with stage(f"time {len(models)} networks, {batch} images at once, round", rounds) as sign:
                timings[batch] = interleaved(calls, rounds, warmup=5, progress=sign.advance)
        return timings


def columns(timing: Mapping[int, Mapping[str, Timing]], name: str) -> dict[str, float | bool]:
    """Return latency_N, _low, _high and _noisy of one network, for each batch of N images that was timed."""
    return {f"latency_{n}{end}": getattr(of[name], key) for n, of in timing.items() for end, key in TIMES.items()}
