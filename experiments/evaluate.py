"""Measure networks: accuracy on a split, latency side by side."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from layers import Timing, interleaved
from layers.cost import evaluating

from .batches import Batches
from .data import Dataset, Split, Stream


class Accuracy(NamedTuple):
    """Percent of images whose class is the likeliest, or among the five likeliest, and the mean cross-entropy."""

    top1: float
    top5: float
    loss: float


def accuracy(model: nn.Module, split: Split | Stream, dataset: Dataset, device: torch.device | str) -> Accuracy:
    """Over every image of the split once, in eval mode; the model is moved to the device."""
    model.to(device)
    first = fifth = images_seen = 0
    loss = 0.0
    with evaluating(model):
        for images, labels in Batches(split, dataset, 500, device=device):
            y = model(images).float()
            hits = y.topk(min(5, y.shape[1])).indices == labels[:, None]
            first, fifth = first + int(hits[:, 0].sum()), fifth + int(hits.sum())
            loss += float(cross_entropy(y, labels, reduction="sum"))
            images_seen += len(labels)
    return Accuracy(100 * first / images_seen, 100 * fifth / images_seen, loss / images_seen)


def latencies(
    models: Mapping[str, nn.Module], x: Tensor, batches: Sequence[int], rounds: int = 30
) -> dict[int, dict[str, Timing]]:
    """Batch size -> name -> seconds per forward pass of the first images of x, every model in turn in each round."""
    with ExitStack() as modes:
        for model in models.values():
            modes.enter_context(evaluating(model.to(x.device)))
        found = {}
        for batch in batches:
            part = x[:batch].contiguous()
            calls = {name: lambda model=model, part=part: model(part) for name, model in models.items()}
            found[batch] = interleaved(calls, rounds, warmup=5)
        return found
