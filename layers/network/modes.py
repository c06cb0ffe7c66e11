"""Run a network without leaving a trace in it or in its images: eval mode, no gradients, its own device, copies."""

import itertools
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from checks import require

from .calls import check_batched


@contextmanager
def evaluating(model: nn.Module, gradients: bool = False) -> Iterator[None]:
    """Put the model in eval mode, without gradients unless asked for; every module's own mode is restored."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.set_grad_enabled(gradients):
            yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def observing(model: nn.Module, gradients: bool = False) -> Iterator[None]:
    """As `evaluating`, and every layer is called as Python code, so that hooks hear each call.

    Compiled networks, which ignore hooks that come later, run as they were written; TransformerEncoderLayer and
    MultiheadAttention do not take their fast path, which calls no child.
    """
    with ExitStack() as stack:
        stack.enter_context(evaluating(model, gradients))
        if "torch._dynamo" in sys.modules:  # else nothing is compiled, and the import would take a second
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.callback(torch.backends.mha.set_fastpath_enabled, torch.backends.mha.get_fastpath_enabled())
        torch.backends.mha.set_fastpath_enabled(False)
        yield


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """Let no parameter have gradients; what each one wanted is restored."""
    wanted = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    model.requires_grad_(False)
    try:
        yield
    finally:
        for parameter, grad in wanted:
            parameter.requires_grad_(grad)


def images_of(batch: Any, model: nn.Module) -> Tensor:
    """The images (n, ...) of (images, labels), or of images alone, on the model's device; the caller's own, not a copy.

    Raises ValueError for what is no tensor of at least one image.
    """
    x = batch[0] if isinstance(batch, list | tuple) and batch else batch
    shown = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
    ok = isinstance(x, Tensor) and x.ndim >= 2 and x.numel() > 0
    require(ok, "batch", shown, "a tensor of images (n, ...), at least one")
    tensors = itertools.chain(model.parameters(), model.buffers())
    return x.detach().to(next((t.device for t in tensors), x.device))


def answer(model: nn.Module, x: Tensor, gradients: bool = False) -> Any:
    """model(x) of a copy of x, which a network may work on in place; with `gradients` there are some from x on.

    Raises ValueError where x is a single image without a batch axis, and where the network takes no numbers of its
    dtype.
    """
    images = x
    x = x.clone()  # made here, so that it is none of torch.inference_mode, which could not have gradients
    if gradients:
        require(x.is_floating_point() or x.is_complex(), "images.dtype", str(x.dtype), "a floating dtype")
        x = x.requires_grad_().clone()  # no leaf: those are not to be written to
    own = {p.dtype for p in model.parameters() if p.is_floating_point() or p.is_complex()}
    try:
        with ExitStack() as hooks:
            for layer in model.modules():
                if isinstance(vars(layer).get("kernel_size"), tuple):
                    check = partial(check_batched, images)
                    hooks.callback(layer.register_forward_pre_hook(check, with_kwargs=True).remove)
            return model(x)
    except RuntimeError as error:
        if x.dtype in own or not own or isinstance(error, torch.OutOfMemoryError):
            raise
        reason = str(error).splitlines()[0]
        raise ValueError(f"images.dtype must be one that the model takes, got {x.dtype} ({reason})") from error


def writes_input(model: nn.Module, x: Tensor) -> bool:
    """Whether a forward pass changes x in place, tried on a copy."""
    copy = x.clone()
    with evaluating(model):
        model(copy)
    return not torch.equal(copy, x)
