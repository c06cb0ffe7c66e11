"""Whose BatchNorm statistics a trained network keeps."""

from collections.abc import Callable, Iterable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import update_bn

from ..config import Training

REESTIMATE = 10_000  # images suffice for BatchNorm's statistics (Wu & Johnson 2021, section 3)


def statistics(model: nn.Module, config: Training) -> str:
    """Whose they will be, in words; empty without BatchNorm."""
    if not any(isinstance(module, _BatchNorm) for module in model.modules()):
        return ""
    words = {
        "local": "running averages of each process's own batches, the first one's kept",
        "sync": "running averages over the batches of all processes",
        "reestimate": "measured anew on training images before each validation",
    }
    return f"BatchNorm statistics: {words[config.batchnorm]}"


def measure_anew(model: nn.Module, images: Iterable[Tensor], mean: Callable[[Tensor], Tensor]) -> None:
    """Mean and variance of what enters each BatchNorm, over the batches of all processes; `mean` is over processes."""
    update_bn(images, model)
    for norm in model.modules():
        if isinstance(norm, _BatchNorm) and norm.running_mean is not None:
            first = mean(norm.running_mean.clone())
            second = mean(norm.running_var + norm.running_mean.square())
            norm.running_mean.copy_(first)
            norm.running_var.copy_(second - first.square())
