"""The columns of the conformance table: every kind of layer, and what a layer of this kind must equal."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from layers import METHODS, Coded, code
from layers.coded import filled
from layers.frequency import BASES, COMPLEX, conv_like
from layers.planning import Method


class Kind(NamedTuple):
    """A kind says how a convolution becomes a layer that leaves nothing out, and what that layer's output must be."""

    refusal: Callable[[nn.Conv2d], str | None]  # why it cannot, or None
    build: Callable[[nn.Conv2d], nn.Module]
    want: Callable[[nn.Conv2d, nn.Module, Tensor], Tensor]  # (the convolution, the layer, x): the dense output
    folds: bool = True  # whether a plain layer can hold its weight


def _takes_all(layer: nn.Conv2d) -> None:
    """Coded and frequency layers refuse no Conv2d."""


def _dense(layer: nn.Conv2d, small: nn.Module, x: Tensor) -> Tensor:
    """Return what the layer that was replaced puts out."""
    y: Tensor = layer(x)
    return y


def _largest(method: Method, layer: nn.Conv2d) -> nn.Module:
    return method.build(layer, method.candidates(layer)[-1].spec)


def _of_a_method(method: Method) -> Kind:
    return Kind(method.refusal, partial(_largest, method), _dense)


def _full_rank(kernel: str, layer: nn.Conv2d) -> nn.Module:
    shape, total = tuple(layer.weight.shape), layer.weight.numel()
    specs: dict[str, dict[str, Any]] = {
        "svd": {"rank": min(shape[0], total // shape[0])},
        "tucker": {"ranks": shape, "modes": (0, 1, 2, 3)},
        "cp": {"rank": total // max(shape), "sweeps": 1},  # a term for every line of the tensor along its longest mode
        "ht": {"rank": total},  # more than any node has, so all of it
    }
    return code(copy.deepcopy(layer), Coded(kernel, **specs[kernel]))


def _drawn(kernel: str, layer: nn.Conv2d) -> nn.Module:
    """Make a frequency layer anywhere: frequencies, patterns and bias drawn, seed 0."""
    small = conv_like(layer, kernel)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for parameter in small.parameters():
            nn.init.normal_(parameter)
    return small


def _of_its_weight(layer: nn.Conv2d, small: nn.Module, x: Tensor) -> Tensor:
    """Return what the replaced convolution puts out with the layer's weight: of a complex one, with either part."""
    weight, bias = small.weight, small.bias
    assert isinstance(weight, Tensor)
    assert bias is None or isinstance(bias, Tensor)

    def output(part: Callable[[Tensor], Tensor]) -> Tensor:
        plain = filled(copy.deepcopy(layer), part(weight), None if bias is None else part(bias))
        y: Tensor = plain(x)
        return y

    return torch.complex(output(torch.real), output(torch.imag)) if weight.is_complex() else output(torch.real)


KINDS: dict[str, dict[str, Kind]] = {
    "factored": {name: _of_a_method(method) for name, method in METHODS.items() if method.scheme is not None},
    "coded": {
        **{name: _of_a_method(method) for name, method in METHODS.items() if method.scheme is None},
        **{name: Kind(_takes_all, partial(_full_rank, name), _dense) for name in ("svd", "tucker", "cp", "ht")},
    },
    "frequency": {
        name: Kind(_takes_all, partial(_drawn, name), _of_its_weight, folds=name not in COMPLEX) for name in BASES
    },
}
