"""What a network costs: parameters, multiply-accumulates, bytes."""

from typing import NamedTuple

from torch import Tensor, nn

from .trace import Trace, trace


class Cost(NamedTuple):
    """Parameters, multiply-accumulates for the given input, and bytes of the tensors; costs add and subtract.

    What a file takes is no sum over layers: `scale` weighs it.

    Example:
        >>> Cost(10, 100, 40) - Cost(4, 50, 16)
        Cost(params=6, macs=50, bytes=24)
    """

    params: int
    macs: int
    bytes: int

    def __add__(self, other: "Cost") -> "Cost":  # type: ignore[override]  # a vector here, not a longer tuple
        return Cost(*(a + b for a, b in zip(self, other)))

    def __sub__(self, other: "Cost") -> "Cost":
        return Cost(*(a - b for a, b in zip(self, other)))


def _stored(model: nn.Module) -> list[Tensor]:
    """The tensors of the state_dict, tied ones once; an extra state of another kind is left out."""
    state = model.state_dict(keep_vars=True).values()
    return list({id(t): t for t in state if isinstance(t, Tensor)}.values())


def storage(model: nn.Module) -> tuple[int, int]:
    """(parameters, bytes of the state_dict's tensors), tied tensors counted once."""
    return sum(p.numel() for p in model.parameters()), sum(t.numel() * t.element_size() for t in _stored(model))


def cost(model: nn.Module, x: Tensor) -> Cost:
    """Count parameters, multiply-accumulates per example of x (batch, ...), and bytes of the checkpoint.

    All matrix products and convolutions are counted, as torch.utils.flop_counter does: those of layers, a shared layer
    once per call, and those that the network computes itself, as in attention, recurrent layers and functional calls.
    Bias, activation, normalisation and pooling count nothing.  A coded layer costs the parameters it stores and the
    multiply-accumulates of the dense layer it decodes to.

    Args:
        model: any network; it runs once, in eval mode, on a copy of x.
        x: one input batch (n, ...).

    Returns:
        The cost, multiply-accumulates divided by n.

    Raises:
        ValueError: for an empty batch, a single image without a batch axis, an x that the network does not take, and a
            scripted or quantised network, whose layers cannot be seen.

    Example:
        >>> import torch
        >>> cost(nn.Sequential(nn.Conv2d(1, 8, 3), nn.Flatten(), nn.Linear(32, 5)), torch.zeros(2, 1, 4, 4))
        Cost(params=245, macs=448, bytes=980)
    """
    return traced_cost(model, trace(model, x))


def traced_cost(model: nn.Module, traced: Trace) -> Cost:
    """The cost of a network whose forward pass was traced."""
    params, size = storage(model)
    return Cost(params, traced.macs // traced.images, size)
