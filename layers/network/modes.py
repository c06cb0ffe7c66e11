"""Run a network without leaving a trace in it: in eval mode, without gradients, on its own device."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from checks import require


@contextmanager
def evaluating(model: nn.Module, gradients: bool = False) -> Iterator[None]:
    """Eval mode, without gradients unless asked for; every module's own mode is restored."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.set_grad_enabled(gradients):
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def images_of(batch: Any, model: nn.Module) -> Tensor:
    """The images of (images, labels), or of images alone, on the model's device."""
    x = batch[0] if isinstance(batch, list | tuple) else batch
    require(
        isinstance(x, Tensor) and x.ndim >= 2 and len(x) > 0, "batch", type(x).__name__, "a tensor of images (n, ...)"
    )
    tensors = itertools.chain(model.parameters(), model.buffers())
    return x.detach().to(next((t.device for t in tensors), x.device))


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """No gradients of parameters; what each wanted is restored."""
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, grad in wanted:
            parameter.requires_grad_(grad)
