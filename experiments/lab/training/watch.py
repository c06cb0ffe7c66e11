"""The watch over the loss, kept by all processes together."""

import math
from itertools import chain
from statistics import fmean

import torch
from torch import Tensor

from .distributed import gathered
from .stopped import Diverged

SYNC_EVERY = 50  # steps between two looks at the loss on a GPU: each look waits for the device


class Watch:
    """Stops at the first loss that is no number; on a GPU it looks now and then.

    Every process shows it the same number of losses, so that all of them look, and stop, together: one alone would
    leave the others waiting for its gradients.
    """

    def __init__(self) -> None:
        self.losses: list[Tensor] = []
        self.mean: float | None = None  # of the losses that it last looked at

    def see(self, loss: Tensor, step: int, last: bool) -> None:
        """Note the loss of a step, counted from 1; `last` of its epoch."""
        self.losses.append(loss)
        if loss.device.type != "cpu" and len(self.losses) < SYNC_EVERY and not last:
            return
        steps = gathered(torch.stack(self.losses)).T.tolist()  # steps x processes
        self.losses.clear()
        for number, values in enumerate(steps, step + 1 - len(steps)):
            for value in values:
                if not math.isfinite(value):
                    advice = "try a lower --lr, --clip 1, or --precision 32"
                    raise Diverged(f"loss must be finite, got {value} at step {number}: {advice}")
        self.mean = fmean(chain.from_iterable(steps))
