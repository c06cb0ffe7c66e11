"""The table of ways to compress one layer: everything that plans, builds or lists methods reads METHODS."""

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from checks import require
from contract import WAVELETS

from ..coded import SELECTIONS, Transform, TransformLinear, code, place_type
from ..costs import Call, Cost
from ..factored import (
    CHANNEL,
    HT,
    JOINT,
    SEPARABLE,
    SPATIAL,
    TUCKER,
    Form,
    Scheme,
    Spec,
    candidates,
    check_count,
    check_keys,
    check_word,
    grid,
    in_range,
    sequence_cost,
    set_weights,
    shell,
    weights,
)
from ..fitting import Metric, loss_aware
from ..network import Layer


class Method(NamedTuple):
    """How one kernel compresses a Conv2d, ConvTranspose2d or Linear: a row of `METHODS`, which plans name.

    `build`, `shell` and `check` raise ValueError in a sentence for a layer or a spec that cannot be.

    Example:
        >>> import torch
        >>> from layers import METHODS
        >>> METHODS["tucker"].description
        'Tucker-2: 1 x 1, k x k between fewer channels, 1 x 1'
        >>> METHODS["tucker"].refusal(torch.nn.Linear(3, 4))
        'a Linear layer is a matrix, which svd decomposes'
        >>> METHODS["svd"].build(torch.nn.Linear(6, 4), {"rank": 2})
        Sequential(
          (0): Linear(in_features=6, out_features=2, bias=False)
          (1): Linear(in_features=2, out_features=4, bias=True)
        )
    """

    description: str  # for help and docs
    refusal: Callable[[nn.Module], str | None]  # why it cannot, or None
    check: Callable[..., None]  # (layer, spec)
    candidates: Callable[..., list[Form]]  # (layer, multiple of the ranks): from the smallest to the largest
    cost: Callable[..., Cost]  # (layer, spec, calls): what it costs, without building it
    shell: Callable[..., nn.Module]  # (layer, spec): the new module, numbers unset
    build: Callable[..., nn.Module]  # (layer, spec[, metric of the layer]): the new module
    saves: frozenset[str]  # which of a Cost's fields, and whether the latency, can shrink
    scheme: Scheme | None = None  # how it factors a layer, if it does


def _factored(scheme: Scheme, description: str) -> Method:
    def refusal(layer: nn.Module) -> str | None:
        return scheme.refusal(layer) or _no_numbers(layer)

    def check(layer: Layer, spec: Spec) -> None:
        refused = refusal(layer)
        require(refused is None, "layer", f"{layer}: {refused}", f"one that {scheme.kernel} can take apart")
        scheme.check(layer, spec)

    def cost(layer: Layer, spec: Spec, calls: Sequence[Call]) -> Cost:
        return sequence_cost(layer, scheme.shapes(layer, spec), calls)

    def empty(layer: Layer, spec: Spec) -> nn.Sequential:
        check(layer, spec)
        return shell(layer, scheme.shapes(layer, spec))

    def build(layer: Layer, spec: Spec, metric: Metric | None = None) -> nn.Module:
        factors = empty(layer, spec)
        if metric is None:
            return set_weights(factors, weights(scheme, layer, spec), layer.bias)
        return set_weights(factors, *loss_aware(scheme, layer, spec, metric))

    def offer(layer: Layer, multiple: int = 1) -> list[Form]:
        return candidates(scheme, layer, multiple)

    saves = frozenset({"params", "macs", "bytes", "latency"})
    return Method(description, refusal, check, offer, cost, empty, build, saves, scheme)


def _no_numbers(layer: Any) -> str | None:
    """Say why the weight of a convolution or Linear layer holds nothing that could be compressed, or None."""
    if not layer.weight.numel():
        return "it has no weights"
    return None if layer.weight.is_floating_point() else f"its weight is of {layer.weight.dtype}"


def _axes(layer: Layer) -> list[int]:
    """Pick the axes with an order that means something: height and width; the channels where there is nothing else."""
    spatial = [axis for axis in range(2, layer.weight.ndim) if layer.weight.shape[axis] > 1]
    return spatial or [0, 1]


def _coded(kernel: str, description: str, wavelet: str | None = None) -> Method:
    fixed = {} if wavelet is None else {"wavelet": wavelet}

    def refusal(layer: nn.Module) -> str | None:
        if not isinstance(layer, (nn.Conv2d, nn.Linear)):
            return f"{type(layer).__name__} has no transform layer"
        return _no_numbers(layer)

    def check(layer: Layer, spec: Spec) -> None:
        refused, shape = refusal(layer), layer.weight.shape
        require(refused is None, "layer", f"{layer}: {refused}", f"one that {kernel} can transform")
        levels = [] if wavelet is None else ["levels"]
        check_keys(spec, "keep", "axes", *fixed, optional=["select", "order", *levels])
        check_count(spec["keep"], "keep", shape.numel())
        axes, places = spec["axes"], range(len(shape))
        distinct = isinstance(axes, list | tuple) and all(type(axis) is int and axis in places for axis in axes)
        distinct = distinct and 0 < len(axes) == len(set(axes))
        require(distinct, "axes", axes, f"a list of different integers in 0 to {len(shape) - 1}")
        if wavelet is not None:
            check_word(spec["wavelet"], "wavelet", WAVELETS)
        check_word(spec.get("select", "magnitude"), "select", SELECTIONS)
        require(isinstance(spec.get("order", False), bool), "order", spec.get("order"), "true or false")
        if "levels" in spec:
            check_count(spec["levels"], "levels", max(1, (max(shape) - 1).bit_length()))  # an axis takes what it can

    def offer(layer: Layer, multiple: int = 1) -> list[Form]:
        axes = _axes(layer)
        w: Tensor = in_range(layer)[0].weight.detach().double()
        squares = (
            Transform(kernel, 1, axes, wavelet=wavelet).spectrum(w).flatten().square().sort(descending=True).values
        )
        energies = squares.cumsum(0) / squares.sum().clamp_min(torch.finfo(torch.float64).tiny)
        return [
            Form(kernel, {"keep": n, "axes": axes} | fixed, error=max(0.0, 1 - float(energies[n - 1])))
            for n in grid(len(energies))
        ]

    def cost(layer: Layer, spec: Spec, calls: Sequence[Call]) -> Cost:
        bias, shape = 0 if layer.bias is None else layer.bias.numel(), layer.weight.shape
        params = spec["keep"] + bias
        positions = math.ceil(shape.numel() / 8) if spec.get("select", "magnitude") == "magnitude" else 0
        sorted_axes = {0, 1} & set(spec["axes"]) if spec.get("order") else ()
        places = sum(shape[axis] * place_type(shape[axis]).itemsize for axis in sorted_axes)
        return Cost(params, sum(call.macs for call in calls), params * layer.weight.element_size() + positions + places)

    def build(layer: Layer, spec: Spec, metric: Metric | None = None) -> nn.Module:
        check(layer, spec)
        transform = Transform(kernel, **spec)
        return TransformLinear(layer, transform) if type(layer) is nn.Linear else code(copy.deepcopy(layer), transform)

    return Method(description, refusal, check, offer, cost, build, build, frozenset({"params", "bytes"}))


def _row(scheme: Scheme, description: str) -> dict[str, Method]:
    return {scheme.kernel: _factored(scheme, description)}


METHODS = {
    **_row(CHANNEL, "SVD, channels: k x k to r channels, then 1 x 1; transposed: 1 x 1, then k x k"),
    **_row(SPATIAL, "SVD, separable filters: k x 1 to r channels, then 1 x k"),
    **_row(TUCKER, "Tucker-2: 1 x 1, k x k between fewer channels, 1 x 1"),
    **_row(JOINT, "CP, height and width as one mode: 1 x 1, depthwise k x k, 1 x 1"),
    **_row(SEPARABLE, "CP of four modes: 1 x 1, depthwise k x 1 and 1 x k, 1 x 1"),
    **_row(HT, "hierarchical Tucker: 1 x 1, k x 1, 1 x k, 1 x 1"),
    "dct": _coded("dct", "the largest coefficients of a cosine transform"),
    "dst": _coded("dst", "the largest coefficients of a sine transform"),
    "dht": _coded("dht", "the largest coefficients of a Hartley transform"),
    "dwt": _coded("dwt", "the largest coefficients of a wavelet transform", "haar"),
    "shannon": _coded("shannon", "the largest coefficients of a Shannon wavelet transform"),
}


def method(name: str) -> Method:
    """Look up a row of METHODS; ValueError with the choices for an unknown name."""
    require(name in METHODS, "kernel", name, f"one of {', '.join(METHODS)}")
    return METHODS[name]
