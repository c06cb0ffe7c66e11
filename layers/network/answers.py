"""Find the class scores in whatever a network answers: a tensor, a tuple or a dictionary of tensors."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

NAMES = ("logits", "scores", "out", "output", "prediction_logits")  # under which networks put their scores


def class_scores(answered: Any) -> Tensor | None:
    """Return the scores (n, classes) in what a network answers, or None where there are none.

    A tensor is its own; of a tuple or list the first of two axes, of a dictionary one of NAMES, else the first of two
    axes.  A tensor of one axis, as squeeze() leaves of a single image, stands for one image's scores where it is alone.

    Example:
        >>> import torch
        >>> class_scores({"features": torch.ones(2, 3, 4), "logits": torch.ones(2, 5)}).shape
        torch.Size([2, 5])
        >>> class_scores((torch.ones(2, 3, 8, 8),)) is None
        True
    """
    if isinstance(answered, Tensor):
        return answered if answered.ndim in (1, 2) else None
    if isinstance(answered, Mapping):
        named = [answered[name] for name in NAMES if name in answered]
        values = [*named, *answered.values()]
    elif isinstance(answered, list | tuple):
        values = [*answered]
    else:
        return None
    return next((value for value in values if isinstance(value, Tensor) and value.ndim == 2), None)
