"""Measure networks: accuracy on a split, latency side by side."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from layers import Timing, interleaved
from layers.cost import evaluating

from .batches import Batches
from .data import Dataset, Split, Stream


def top1(model: nn.Module, split: Split | Stream, dataset: Dataset, device: torch.device | str) -> float:
    """Accuracy in percent, in eval mode; the model is moved to the device."""
    model.to(device)
    hits = 0
    with evaluating(model):
        for images, labels in Batches(split, dataset, 500, device=device):
            hits += int((model(images).argmax(1) == labels).sum())
    return 100 * hits / len(split.labels)


def latencies(models: Mapping[str, nn.Module], x: Tensor, rounds: int = 30) -> dict[str, Timing]:
    """Seconds per forward pass of x, every model measured in turn in the same rounds."""
    for model in models.values():
        model.to(x.device).eval()
    with torch.no_grad():
        return interleaved({name: lambda model=model: model(x) for name, model in models.items()}, rounds, warmup=5)
