"""BatchNorm statistics measured anew, on a compressed network or between the epochs of a training."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from checks import require

from ..network import answer, copy_of, images_of, observing

Reduce = Callable[[Tensor], Tensor]  # the mean of a tensor over processes


def reestimate_batchnorm(model: nn.Module, batches: Iterable[Any]) -> nn.Module:
    """Copy the network and give its BatchNorm layers the mean and variance of their inputs, averaged over the batches.

    A step of its own, to be reported as such.  Every module but BatchNorm runs in eval mode.

    Args:
        model: any network, which is left as it is.
        batches: images (n, ...), or (images, labels) whose labels are not read; each of more than one image.

    Returns:
        The copy; its modes and momenta are those of the network.

    Raises:
        ValueError: without a batch, and for a batch of one image, of which a variance cannot be taken.

    Example:
        >>> import torch
        >>> net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(1))
        >>> batches = [torch.tensor([[1.0], [3.0]]), torch.tensor([[5.0], [7.0]])]
        >>> reestimate_batchnorm(net, batches)[1].running_mean
        tensor([4.])
    """
    model = copy_of(model)
    measure_batchnorm(model, batches)
    return model


def measure_batchnorm(model: nn.Module, batches: Iterable[Any], reduce: Reduce | None = None) -> None:
    """Do as `reestimate_batchnorm`, but in place; with `reduce` over the batches of all processes of a training."""
    norms = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    count = 0
    with observing(model), _averaging(norms):
        for batch in batches:
            x = images_of(batch, model)
            try:
                answer(model, x)
            except ValueError:  # BatchNorm's own
                require(len(x) > 1, "batch", "one image", "of more than one image")
                raise
            count += 1
    require(count > 0, "batches", "none", "at least one batch of images")
    if reduce is None:
        return
    for norm in norms:
        mean, variance = norm.running_mean, norm.running_var
        assert mean is not None
        assert variance is not None
        first, second = reduce(mean.clone()), reduce(variance + mean.square())
        mean.copy_(first)
        variance.copy_(second - first.square())


@contextmanager
def _averaging(norms: list[_BatchNorm]) -> Iterator[None]:
    """Let these layers keep the average of all batches, each alike, from now on; their momenta are restored."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train().momentum = None
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta):
            norm.momentum = momentum
