"""BatchNorm statistics measured anew on the compressed network: a step of its own, to be reported as such."""

import copy
from collections.abc import Iterable
from typing import Any

from torch import nn

from checks import require

from ..network import evaluating, images_of


def reestimate_batchnorm(model: nn.Module, batches: Iterable[Any]) -> nn.Module:
    """A copy whose BatchNorm layers hold the mean and variance of their inputs, averaged over the batches.

    All but BatchNorm runs in eval mode.  batches: images or (images, labels), labels unread; each of more than one.
    Raises ValueError without a batch.
    """
    model = copy.deepcopy(model)
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    momenta = [norm.momentum for norm in norms]
    count = 0
    with evaluating(model):
        for norm in norms:
            norm.reset_running_stats()
            norm.train().momentum = None  # the average of all batches, each alike
        for batch in batches:
            model(images_of(batch, model))
            count += 1
    require(count > 0, "batches", "none", "at least one batch of images")
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    return model
