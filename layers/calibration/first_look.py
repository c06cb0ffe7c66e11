"""Look at what a network answers to two images, before it is calibrated, and get those images back."""

import itertools
import warnings
from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from checks import require

from ..network import answer, class_scores, frozen, images_of, observing


def first_look(model: nn.Module, batches: Iterable[Any], loss_aware: bool | None) -> tuple[Iterable[Any], bool]:
    """Return the batches again, and whether to look at the loss: if not told, where scores answer two images."""
    if loss_aware is not None:
        return batches, loss_aware
    rest = iter(batches)
    begin = [*itertools.islice(rest, 1)]
    batches = itertools.chain(begin, rest)
    if not begin:
        return batches, True
    with frozen(model), observing(model, gradients=True):
        answered = answer(model, images_of(begin[0], model)[:2], gradients=True)
    parts = tree_leaves(answered)
    tensors = any(isinstance(part, Tensor) for part in parts)
    require(tensors, "the network's output", type(answered).__name__, "a tensor, or a tuple or dictionary of tensors")
    if class_scores(answered) is None:
        words = "there are no class scores (n, classes) in what %s answers: loss_aware=False, every output counts alike"
        warnings.warn(words % type(model).__name__, stacklevel=3)
        return batches, False
    return batches, True
