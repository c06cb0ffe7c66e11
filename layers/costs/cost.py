"""What a network costs: parameters, multiply-accumulates, bytes."""

import math
import zlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..coded import TransformLinear
from ..frequency import FrequencyConv2d, FrequencyLinear
from ..network import evaluating

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, FrequencyConv2d)
LINEARS = (nn.Linear, FrequencyLinear, TransformLinear)


class Cost(NamedTuple):
    """Trained numbers, multiply-accumulates for the given input, and bytes of the checkpoint."""

    params: int
    macs: int
    bytes: int

    def __add__(self, other: "Cost") -> "Cost":  # type: ignore[override]  # a vector here, not a longer tuple
        return Cost(*(a + b for a, b in zip(self, other)))

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(*(a - b for a, b in zip(self, other)))


class Call(NamedTuple):
    """One use of a layer in a forward pass."""

    input: torch.Size
    output: torch.Size
    macs: int


def layer_macs(module: nn.Module, y: Tensor) -> int:
    """One multiply-accumulate per weight of a filter and output value; bias, activation and pooling count nothing."""
    if isinstance(module, CONVS):
        return y.numel() * module.in_channels // module.groups * math.prod(module.kernel_size)
    if isinstance(module, LINEARS):
        return y.numel() * module.in_features
    return 0


def trace(model: nn.Module, x: Tensor) -> dict[str, list[Call]]:
    """Name of each convolution and Linear -> its calls in one forward pass of x."""
    calls: dict[str, list[Call]] = defaultdict(list)
    handles = []
    for name, module in model.named_modules():
        if isinstance(module, (*CONVS, *LINEARS)):

            def hook(module: nn.Module, args: tuple, y: Tensor, name: str = name) -> None:
                calls[name].append(Call(args[0].shape, y.shape, layer_macs(module, y)))

            handles.append(module.register_forward_hook(hook))
    try:
        with evaluating(model):
            model(x)
    finally:
        for handle in handles:
            handle.remove()
    return dict(calls)


def storage(model: nn.Module) -> tuple[int, int]:
    """(parameters, bytes of the state_dict), tied tensors counted once."""
    tensors = {id(t): t for t in model.state_dict(keep_vars=True).values()}
    return sum(p.numel() for p in model.parameters()), sum(t.numel() * t.element_size() for t in tensors.values())


def deflated(model: nn.Module) -> int:
    """Bytes of the state_dict compressed by zlib, tensor by tensor: what zeros and few distinct values save.

    Huffman coding and repeats (RFC 1951), as for a checkpoint that is sent or archived (Han et al. 2016, section 4).
    """
    tensors = {id(t): t for t in model.state_dict(keep_vars=True).values()}
    return sum(len(zlib.compress(t.detach().cpu().numpy().tobytes(), 1)) for t in tensors.values())


def cost(model: nn.Module, x: Tensor) -> Cost:
    """Parameters, multiply-accumulates per example of x (batch, ...), and checkpoint bytes.

    Convolutions and Linear layers are counted, a shared layer once per call; a coded layer costs the parameters it
    stores and the multiply-accumulates of the dense layer it decodes to.
    """
    return traced_cost(model, trace(model, x), len(x))


def traced_cost(model: nn.Module, calls: Mapping[str, Sequence[Call]], images: int) -> Cost:
    """The same of a forward pass that was traced."""
    params, size = storage(model)
    return Cost(params, sum(call.macs for own in calls.values() for call in own) // images, size)
