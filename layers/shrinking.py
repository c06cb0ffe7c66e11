"""From a trained network and images to a smaller one in a single call."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from torch import nn

from checks import require

from .calibration import calibrate
from .fitting import refit
from .network import images_of
from .planning import Budget, Plan, compress, make_plan


class Shrunk(NamedTuple):
    """The smaller network, and the plan by which `save` and `load` know it."""

    network: nn.Module
    plan: Plan


def shrink(model: nn.Module, batches: Iterable[Any], macs: float = 0.5, *, seed: int = 0) -> Shrunk:
    """Calibrate, plan with all kernels under one budget, compress and refit: no label is read, no gradient step taken.

    For another budget, kernel or selector call the four yourself: `calibrate`, `make_plan`, `compress` and `refit`.

    Args:
        model: A trained network, which is not changed; of one without class scores every output counts alike.
        batches: Images (n, ...) as the network was trained on, or (images, labels) whose labels are not read.
            Some hundreds are few, thousands are better.
        macs: Which part of the multiply-accumulates is kept.
        seed: Of all that is drawn.

    Returns:
        The network and its plan.

    Raises:
        ValueError: For a budget outside 0 to 1 or out of reach, without images, and for a network that cannot be
            observed.

    Example:
        >>> import torch
        >>> from layers import shrink
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
        >>> small, plan = shrink(model, torch.randn(200, 1, 8, 8).split(50), macs=0.5)
        >>> plan.after.macs <= plan.before.macs / 2, small(torch.zeros(1, 1, 8, 8)).shape
        (True, torch.Size([1, 10]))
    """
    budget, images = Budget(macs=macs), [images_of(batch, model) for batch in batches]
    require(bool(images), "batches", "none", "at least one batch of images")
    stats = calibrate(model, images, seed=seed)
    plan = make_plan(model, budget, example=images[0][:1], stats=stats)
    small = compress(model, plan, stats=stats)
    return Shrunk(refit(small, model, images, stats=stats, seed=seed), plan)
