"""The table of ways to compress one layer: everything that plans, builds or lists methods reads METHODS."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from checks import require
from contract import WAVELETS

from ..calibration import LayerStats
from ..coded import SELECTIONS, Transform, TransformLinear, code, place_type
from ..costs import Call, Cost
from ..factored import (
    CHANNEL,
    JOINT,
    SEPARABLE,
    SPATIAL,
    Candidate,
    Limits,
    Scheme,
    Spec,
    check_spec,
    count,
    distinct,
    fill,
    grid,
    hierarchical_tucker,
    one_of,
    price,
    shell,
    truth,
    tucker,
)
from ..fitting import Metric, loss_aware
from ..network import Layer
from .budget import Budget


class Method(NamedTuple):
    """How one kernel compresses a Conv2d or Linear."""

    refusal: Callable[[nn.Module], str | None]  # why it cannot, or None
    candidates: Callable[..., list[Candidate]]  # (layer, multiple of the ranks): from the smallest to the largest
    price: Callable[..., Cost]  # (layer, spec, calls): what it costs, without building it
    shell: Callable[..., nn.Module]  # (layer, spec): the new module, numbers unset
    build: Callable[..., nn.Module]  # (layer, spec[, what calibration saw of it]): the new module
    saves: frozenset[str]  # which of a Cost's fields can shrink
    limits: Callable[..., Limits]  # (layer): what its spec may be
    scheme: Scheme | None = None  # how it factors a layer, if it does


def _factored(name: str, scheme: Scheme) -> Method:
    def check(layer: Layer, spec: Spec) -> None:
        refused = scheme.refusal(layer)
        require(refused is None, "layer", f"{layer}: {refused}", f"one that {name} can take apart")
        check_spec(scheme.limits(layer), spec)

    def cost(layer: Layer, spec: Spec, calls: Sequence[Call]) -> Cost:
        return price(layer, scheme.shapes(layer, spec), calls)

    def empty(layer: Layer, spec: Spec) -> nn.Module:
        check(layer, spec)
        return shell(layer, scheme.shapes(layer, spec))

    def build(layer: Layer, spec: Spec, seen: LayerStats | None = None) -> nn.Module:
        check(layer, spec)
        if seen is None:
            weights, bias = scheme.weights(layer, spec), layer.bias
        else:
            weights, bias = loss_aware(scheme, layer, spec, Metric.of(layer, seen))
        return fill(shell(layer, scheme.shapes(layer, spec)), weights, bias)

    saves = frozenset({"params", "macs", "bytes", "latency"})
    return Method(scheme.refusal, scheme.candidates, cost, empty, build, saves, scheme.limits, scheme)


def _axes(layer: Layer) -> list[int]:
    """The axes with an order that means something: height and width; the channels where there is nothing else."""
    spatial = [axis for axis in range(2, layer.weight.ndim) if layer.weight.shape[axis] > 1]
    return spatial or [0, 1]


def _transform(name: str, wavelet: str | None = None) -> Method:
    more = {} if wavelet is None else {"wavelet": wavelet}

    def refusal(layer: nn.Module) -> str | None:
        known = isinstance(layer, (nn.Conv2d, nn.Linear))
        return None if known else f"{type(layer).__name__} has no transform layer"

    def candidates(layer: Layer, multiple: int = 1) -> list[Candidate]:
        axes = _axes(layer)
        w: Tensor = layer.weight.detach().double()
        squares = Transform(name, 1, axes, wavelet=wavelet).spectrum(w).flatten().square().sort(descending=True).values
        energies = squares.cumsum(0) / squares.sum().clamp_min(torch.finfo(torch.float64).tiny)
        return [Candidate({"keep": n, "axes": axes} | more, float(energies[n - 1])) for n in grid(len(squares))]

    def cost(layer: Layer, spec: Spec, calls: Sequence[Call]) -> Cost:
        bias, shape = 0 if layer.bias is None else layer.bias.numel(), layer.weight.shape
        params = spec["keep"] + bias
        positions = math.ceil(shape.numel() / 8) if spec.get("select", "magnitude") == "magnitude" else 0
        sorted_axes = {0, 1} & set(spec["axes"]) if spec.get("order") else ()
        places = sum(shape[axis] * place_type(shape[axis]).itemsize for axis in sorted_axes)
        return Cost(params, sum(call.macs for call in calls), params * layer.weight.element_size() + positions + places)

    def build(layer: Layer, spec: Spec, seen: LayerStats | None = None) -> nn.Module:
        check_spec(limits(layer), spec)
        transform = Transform(name, **spec)
        return TransformLinear(layer, transform) if type(layer) is nn.Linear else code(copy.deepcopy(layer), transform)

    def limits(layer: Layer) -> Limits:
        shape = layer.weight.shape
        which = {} if wavelet is None else {"wavelet": one_of(WAVELETS)}
        free = {"select": one_of(SELECTIONS), "order": truth()}
        if wavelet is not None:
            free["levels"] = count(max(1, (max(shape) - 1).bit_length()))  # an axis takes as many as it can
        free = {key: limit._replace(optional=True) for key, limit in free.items()}
        return {"keep": count(shape.numel()), "axes": distinct(len(shape))} | which | free

    return Method(refusal, candidates, cost, build, build, frozenset({"params", "bytes"}), limits)


METHODS = {
    "svd": _factored("svd", CHANNEL),
    "spatial": _factored("spatial", SPATIAL),
    "tucker": _factored("tucker", tucker),
    "cp": _factored("cp", JOINT),
    "cp4": _factored("cp4", SEPARABLE),
    "ht": _factored("ht", hierarchical_tucker),
    "dct": _transform("dct"),
    "dst": _transform("dst"),
    "dht": _transform("dht"),
    "dwt": _transform("dwt", "haar"),
    "shannon": _transform("shannon"),
}


def check_kernels(kernels: Sequence[str], budget: Budget, selector: str) -> None:
    """ValueError for a kernel that is unknown, saves nothing of what the budget counts, or has no ranks for evbmf."""
    for kernel in kernels:
        row = method(kernel)
        allowed = f"on {' or '.join(sorted(row.saves))}"
        require(budget.metric in row.saves, f"budget for kernel {kernel}", str(budget), allowed)
        require(
            selector != "evbmf" or row.scheme is not None, "kernel for selector evbmf", kernel, "one that has ranks"
        )


def method(name: str) -> Method:
    """The row of METHODS; ValueError with the choices for an unknown name."""
    require(name in METHODS, "kernel", name, f"one of {', '.join(METHODS)}")
    return METHODS[name]
