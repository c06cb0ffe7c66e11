"""The table of ways to compress one layer: everything that plans, builds or lists methods reads METHODS."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from checks import need

from .coded import code
from .cost import Call, Cost
from .factored import Dense, price, shell
from .svd import CHANNEL, SPATIAL, Scheme
from .transform import Transform
from .transform_linear import TransformLinear

Spec = Mapping[str, Any]  # ints, floats, strings and lists: it is written into plans


class Candidate(NamedTuple):
    """One compressed form of a layer: the arguments of `build`, and the part of |W|^2 it keeps."""

    spec: Spec
    energy: float


class Method(NamedTuple):
    """How one kernel compresses a Conv2d or Linear."""

    refusal: Callable[[nn.Module], str | None]  # why it cannot, or None
    candidates: Callable[..., list[Candidate]]  # (layer): from the smallest to the largest
    price: Callable[..., Cost]  # (layer, spec, calls): what it costs, without building it
    shell: Callable[..., nn.Module]  # (layer, spec): the new module, numbers unset
    build: Callable[..., nn.Module]  # (layer, spec): the new module
    saves: frozenset[str]  # which of a Cost's fields can shrink


MOST_CANDIDATES = 128  # per layer and method: finer steps than 1/128 of the ranks do not pay for planning time


def _grid(largest: int) -> list[int]:
    """Up to MOST_CANDIDATES integers, evenly spaced, ascending to the largest."""
    return list(range(largest, 0, -math.ceil(largest / MOST_CANDIDATES)))[::-1]


def _rank_candidates(scheme: Scheme, layer: Dense) -> list[Candidate]:
    energies = scheme.energies(layer).tolist()
    return [Candidate({"rank": rank}, energies[rank - 1]) for rank in _grid(len(energies))]


def _svd(scheme: Scheme) -> Method:
    def cost(layer: Dense, spec: Spec, calls: Sequence[Call]) -> Cost:
        return price(layer, scheme.shapes(layer, spec["rank"]), calls)

    def empty(layer: Dense, spec: Spec) -> nn.Module:
        return shell(layer, scheme.shapes(layer, spec["rank"]))

    def build(layer: Dense, spec: Spec) -> nn.Module:
        return scheme.build(layer, spec["rank"])

    return Method(
        scheme.refusal, partial(_rank_candidates, scheme), cost, empty, build, frozenset({"params", "macs", "bytes"})
    )


def _axes(layer: Dense) -> list[int]:
    """The axes with an order that means something: height and width; the channels where there is nothing else."""
    spatial = [axis for axis in range(2, layer.weight.ndim) if layer.weight.shape[axis] > 1]
    return spatial or [0, 1]


def _transform(name: str, wavelet: str | None = None) -> Method:
    more = {} if wavelet is None else {"wavelet": wavelet}

    def refusal(layer: nn.Module) -> str | None:
        known = isinstance(layer, (nn.Conv2d, nn.Linear))
        return None if known else f"{type(layer).__name__} has no transform layer"

    def candidates(layer: Dense) -> list[Candidate]:
        axes = _axes(layer)
        w: Tensor = layer.weight.detach().double()
        squares = Transform(name, 1, axes, wavelet=wavelet).spectrum(w).flatten().square().sort(descending=True).values
        energies = squares.cumsum(0) / squares.sum().clamp_min(torch.finfo(torch.float64).tiny)
        return [Candidate({"keep": n, "axes": axes} | more, float(energies[n - 1])) for n in _grid(len(squares))]

    def cost(layer: Dense, spec: Spec, calls: Sequence[Call]) -> Cost:
        bias, size = 0 if layer.bias is None else layer.bias.numel(), layer.weight.element_size()
        params = spec["keep"] + bias
        return Cost(params, sum(call.macs for call in calls), params * size + math.ceil(layer.weight.numel() / 8))

    def build(layer: Dense, spec: Spec) -> nn.Module:
        transform = Transform(name, **spec)
        return TransformLinear(layer, transform) if type(layer) is nn.Linear else code(copy.deepcopy(layer), transform)

    return Method(refusal, candidates, cost, build, build, frozenset({"params", "bytes"}))


METHODS = {
    "svd": _svd(CHANNEL),
    "spatial": _svd(SPATIAL),
    "dct": _transform("dct"),
    "dst": _transform("dst"),
    "dht": _transform("dht"),
    "dwt": _transform("dwt", "haar"),
    "shannon": _transform("shannon"),
}


def method(name: str) -> Method:
    """The row of METHODS; ValueError with the choices for an unknown name."""
    need(name in METHODS, "kernel", name, f"one of {', '.join(METHODS)}")
    return METHODS[name]
