"""Optimizers and learning-rate schedules by name; a schedule is stepped after every batch."""

import math
from collections.abc import Callable, Iterable

from torch.nn import Parameter
from torch.optim import SGD, AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from ..config import Training

Shape = Callable[[Training, float, int], float]  # (config, epochs so far, epochs) -> factor of the peak learning rate

OPTIMIZERS: dict[str, Callable[[Iterable[Parameter], float, Training], Optimizer]] = {
    "adamw": lambda weights, lr, config: AdamW(weights, lr, weight_decay=config.weight_decay),
    "sgd": lambda weights, lr, config: SGD(
        weights, lr, config.momentum, weight_decay=config.weight_decay, nesterov=config.momentum > 0
    ),
}


def cosine(config: Training, epoch: float, epochs: int) -> float:
    """(1 + cos(pi t)) / 2, t from 0 after the warm-up to 1 (Loshchilov & Hutter 2017, eq. 5)."""
    start = min(config.warmup_epochs, epochs)
    return (1 + math.cos(math.pi * min(1.0, (epoch - start) / max(epochs - start, 1e-9)))) / 2


def step(config: Training, epoch: float, epochs: int) -> float:
    """gamma^(number of whole step sizes so far), the warm-up counted in."""
    return config.gamma ** (math.floor(epoch + 1e-9) // config.step_size)


SHAPES: dict[str, Shape] = {"cosine": cosine, "step": step, "constant": lambda config, epoch, epochs: 1.0}


def make_schedule(optimizer: Optimizer, config: Training, lr: float, epochs: int, steps: int) -> LRScheduler:
    """Make the schedule of `epochs` x `steps` batches: one cycle (Smith & Topin 2018), or a linear warm-up and a shape.

    One cycle also moves the momentum of AdamW, against the learning rate; that of SGD stays as configured.
    """
    total = max(1, epochs * steps)
    if config.schedule == "onecycle":
        rise = min(1.0, config.warmup_epochs / epochs) if config.warmup_epochs else 0.3
        return OneCycleLR(optimizer, lr, total, pct_start=rise, cycle_momentum=config.optimizer == "adamw")

    def factor(number: int) -> float:
        epoch = number / steps
        if epoch < config.warmup_epochs:
            return (number + 1) / (config.warmup_epochs * steps + 1)
        return SHAPES[config.schedule](config, epoch, epochs)

    return LambdaLR(optimizer, factor)
