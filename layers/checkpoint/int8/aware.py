"""Train a network as 8-bit integers will compute it: what is rounded on the way forward passes its gradient on."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...coded import Decoded, code, fold
from ...network import evaluating, weighted
from ...thinning import largest, nearest, steps
from .rounding import BITS

LEVELS = 2**BITS - 1  # of an activation, from 0
FOLLOWS = 0.01  # of the range that a batch shows, at which the range follows (Jacob et al. 2018)
INPUT = "rounded_input"  # the name under which a layer has what rounds its input


class RoundedWeight(Decoded):
    """step round(W / step), the step of a filter 1/127 of its largest weight; the gradient goes to W as it is."""

    def right_inverse(self, weight: Tensor) -> Tensor:
        """W."""
        return weight

    def decode(self, *arrays: Tensor) -> Tensor:
        """Round W, to the nearest."""
        (weight,) = arrays
        exact = weight.detach()
        return nearest(exact, steps(exact, BITS), largest(BITS)) + (weight - exact)  # + 0, exactly


class RoundedInput(nn.Module):
    """Round x to 256 steps of its range, zero among them; the gradient of what lies outside is zero.

    In training mode the range follows the least and the greatest number of each batch, or takes them in while it
    `widens`.
    """

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.widens = False
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Return x on its grid."""
        if self.training:
            self._follow(*x.detach().float().aminmax())
        step = ((self.high - self.low) / LEVELS).clamp_min(torch.finfo(torch.float32).tiny)
        zero = (-self.low / step).round().to(torch.int32)
        return torch.fake_quantize_per_tensor_affine(x.float(), step, zero, 0, LEVELS).to(x.dtype)

    def _follow(self, low: Tensor, high: Tensor) -> None:
        low, high = low.clamp_max(0), high.clamp_min(0)
        if self.widens:
            self.low.copy_(torch.minimum(self.low, low))
            self.high.copy_(torch.maximum(self.high, high))
        else:
            self.low += FOLLOWS * (low - self.low)
            self.high += FOLLOWS * (high - self.high)


@contextmanager
def rounding_aware(model: nn.Module, images: Sequence[Tensor]) -> Iterator[None]:
    """Compute inside the block as 8-bit integers do, in place; after it weights are the whole numbers of steps.

    Every convolution and Linear layer reads its input in 256 steps and has weights in 255; to be trained inside the
    block (quantisation-aware training: Jacob et al. 2018).  A quantiser that rounds to the nearest then finds the same
    numbers.  Layers that share a weight stay as they are.

    Args:
        model: any network; masks and two values that hold a weight go on holding it, and are plain afterwards.
        images: batches (n, ...) on the network's device, from which ranges begin.
    """
    shared = [id(p) for _, p in model.named_parameters(remove_duplicate=False)]
    layers = {n: layer for n, layer in weighted(model, nn.Module).items() if shared.count(_key(layer)) <= 1}
    handles, inputs = [], []
    for layer in layers.values():
        rounds = RoundedInput().to(next(layer.parameters()).device).train(layer.training)
        code(layer, RoundedWeight())
        layer.add_module(INPUT, rounds)
        handles.append(layer.register_forward_pre_hook(_round_input, with_kwargs=True))
        inputs.append(rounds)
    try:
        with evaluating(model):
            for rounds in inputs:
                rounds.training = rounds.widens = True
            for batch in images:
                model(batch)
        for rounds in inputs:
            rounds.widens = False
        yield
    finally:
        for handle, layer in zip(handles, layers.values()):
            handle.remove()
            del layer._modules[INPUT]
        fold(model)


def _key(layer: nn.Module) -> int:
    """Identify what stores the weight: a parameter of the layer's, or of what holds its weight."""
    return id(next(p for name, p in layer.named_parameters() if "bias" not in name))


def _round_input(layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
    rounds: Any = layer._modules[INPUT]
    if args:
        return (rounds(args[0]), *args[1:]), kwargs
    return args, {**kwargs, "input": rounds(kwargs["input"])}
