"""Images that a refit does not see, and how far a network is from the dense one on them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..network import answer, observing


def set_aside(batches: Sequence[Tensor], every: int) -> tuple[list[Tensor], list[Tensor]]:
    """(the batches less one image in `every`, counted over all of them, those images); nothing is set aside for 0."""
    rest, aside, count = [], [], 0
    for batch in batches:
        numbers = torch.arange(count, count + len(batch))
        chosen = ((numbers + 1) % every == 0).to(batch.device) if every else torch.zeros(len(batch), dtype=torch.bool)
        rest.append(batch[~chosen])
        aside.append(batch[chosen])
        count += len(batch)
    return [batch for batch in rest if len(batch)], [batch for batch in aside if len(batch)]


def distance(network: nn.Module, dense: nn.Module, batches: Sequence[Tensor], scores: bool) -> float:
    """How far the network's answers are from those of the dense one, summed over the images.

    The Kullback-Leibler divergence from the classes that the dense network sees, where it returns scores; else the sum
    of squares over all tensors of floating-point numbers that it returns.
    """
    total = 0.0
    with observing(network), observing(dense):
        for images in batches:
            given, wanted = ([*map(_numbers, tree_leaves(answer(net, images)))] for net in (network, dense))
            if scores:
                log_q, log_p = (answers[0].log_softmax(-1) for answers in (given, wanted))
                total += float((log_p.exp() * (log_p - log_q)).sum())
            else:
                total += sum(float((a - b).square().sum()) for a, b in zip(given, wanted))
    return total


def _numbers(value: object) -> Tensor:
    """A tensor in float64; nothing for what holds no floating-point numbers."""
    return value.double() if isinstance(value, Tensor) and value.is_floating_point() else torch.zeros(0).double()
