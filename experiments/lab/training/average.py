"""An exponential moving average of the weights, which is then what is validated and kept."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def moving_average(most: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """w' = d w' + (1 - d) w with d = min(most, (1 + n) / (10 + n)) after n steps: short runs too forget the start."""

    @torch.no_grad()
    def update(averages: Sequence[Tensor], currents: Sequence[Tensor], n: Tensor | int) -> None:
        decay = (1 + torch.as_tensor(n)) / (10 + torch.as_tensor(n))
        rate = 1 - decay.clamp(max=most)
        for average, current in zip(averages, currents):
            if average.is_floating_point():
                average.lerp_(current, rate.to(average))
            else:
                average.copy_(current)  # the number of batches seen

    return update


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Copy the network; `update_parameters` of the copy follows it, BatchNorm statistics included."""
    average = AveragedModel(model, multi_avg_fn=moving_average(decay), use_buffers=True)
    return average.requires_grad_(False)
