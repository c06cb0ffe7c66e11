"""What coded and frequency layers are timed against, the dense layers they stand for: rows of `bench layers`."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from layers import Coded, FrequencyConv2d, FrequencyLinear, Transform, TransformLinear, code
from layers.coded import Decoded

from .row import LazyRow, Row

BATCH = 32


def _evaluate(layer: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        y: Tensor = layer(x)
    return y


def _training_step(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    """Return one step of training: forward, backward to the input as well, and SGD."""
    optimizer = torch.optim.SGD(layer.parameters(), 1e-6)  # small: the steps are repeated

    def step() -> None:
        optimizer.zero_grad()
        layer(x).abs().sum().backward()
        optimizer.step()

    return step


def _rows(layers: Mapping[str, Callable[[], nn.Module]], where: str, dense: nn.Module, x: Tensor) -> list[LazyRow]:
    """Return two rows for each layer, which is built when its turn comes: some take seconds, all together gigabytes."""

    def row(name: str, make: Callable[[], nn.Module], training: bool) -> Row:
        ours, theirs = make().train(training), copy.deepcopy(dense).train(training)
        if training:
            return Row(name, type(dense).__name__, _training_step(ours, x), _training_step(theirs, x), 1 / 3)
        images = x.detach()
        return Row(
            name, type(dense).__name__, partial(_evaluate, ours, images), partial(_evaluate, theirs, images), 1 / 1.05
        )

    rows = []
    for name, make in layers.items():
        for training, mode in ((False, "eval"), (True, "training step")):
            work = f"{name}, {where}, {mode}"
            rows.append(LazyRow(work, partial(row, work, make, training)))
    return rows


def _transformed(dense: nn.Linear, make: Callable[[], Transform]) -> nn.Module:
    return TransformLinear(dense, make())


def _coded(dense: nn.Module, make: Callable[[], Decoded]) -> nn.Module:
    return code(copy.deepcopy(dense), make())


def linear_cases(inputs: int = 9216, outputs: int = 4096) -> list[LazyRow]:
    """Return rows of the first fully connected layer of AlexNet: a tenth of its coefficients, or frequencies."""
    x, dense = torch.randn(BATCH, inputs, requires_grad=True), nn.Linear(inputs, outputs)
    layers: dict[str, Callable[[], nn.Module]] = {}
    for kernel, select in (("dct", "magnitude"), ("dct", "lowest"), ("dwt", "magnitude")):
        transform = partial(Transform, kernel, dense.weight.numel() // 10, (0, 1), select)
        layers[f"coded {kernel}, {select}"] = partial(_transformed, dense, transform)
    layers["coded svd"] = partial(_coded, dense, partial(Coded, "svd", rank=64))
    for kernel in ("dct", "dst", "shannon"):
        layers[f"frequency {kernel}"] = partial(FrequencyLinear, inputs, outputs, kernel=kernel)
    return _rows(layers, f"Linear {inputs} to {outputs}", dense, x)


def conv_cases(channels: int = 256, size: int = 14) -> list[LazyRow]:
    """Return rows of a 3 x 3 convolution in the middle of a network."""
    x = torch.randn(BATCH, channels, size, size, requires_grad=True)
    dense = nn.Conv2d(channels, channels, 3, padding=1)
    layers: dict[str, Callable[[], nn.Module]] = {}
    for kernel, axes in (("dct", (2, 3)), ("dct", (0, 1, 2, 3)), ("dht", (2, 3)), ("dwt", (2, 3))):
        transform = partial(Transform, kernel, dense.weight.numel() // 10, axes)
        layers[f"coded {kernel}, axes {axes}"] = partial(_coded, dense, transform)
    specs: dict[str, dict[str, Any]] = {
        "tucker": {"ranks": (64, 64), "modes": (0, 1), "sweeps": 1},
        "cp": {"rank": 32, "sweeps": 1},
        "ht": {"rank": 64},
    }
    for kernel, spec in specs.items():
        layers[f"coded {kernel}"] = partial(_coded, dense, partial(Coded, kernel, **spec))
    for kernel in ("dct", "dst", "shannon"):
        layers[f"frequency {kernel}"] = partial(FrequencyConv2d, channels, channels, 3, padding=1, kernel=kernel)
    return _rows(layers, f"Conv2d {channels} to {channels}, 3x3", dense, x)


def complex_cases(features: int = 1024) -> list[LazyRow]:
    """Return rows against a dense Linear of complex numbers, the layer that they stand for."""
    x = torch.randn(BATCH, features, dtype=torch.complex64, requires_grad=True)
    dense = nn.Linear(features, features, device="meta")
    dense.weight = nn.Parameter(torch.randn(features, features, dtype=torch.complex64) / features**0.5)
    dense.bias = nn.Parameter(torch.zeros(features, dtype=torch.complex64))
    layers: dict[str, Callable[[], nn.Module]] = {
        f"frequency {kernel}": partial(FrequencyLinear, features, features, kernel=kernel)
        for kernel in ("dft", "complex_shannon")
    }
    return _rows(layers, f"Linear {features} to {features}", dense, x)


def layer_cases() -> list[LazyRow]:
    """Return the rows of all layers."""
    return [*linear_cases(), *conv_cases(), *complex_cases()]
