"""What coded and frequency layers are timed against, the dense layers they stand for: rows of `bench layers`."""

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from layers import Coded, FrequencyConv2d, FrequencyLinear, Transform, TransformLinear, code

from .row import Row

BATCH = 32


def _evaluate(layer: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        y: Tensor = layer(x)
    return y


def _training_step(layer: nn.Module, x: Tensor) -> Callable[[], None]:
    """Forward, backward to the input as well, and a step of SGD."""
    optimizer = torch.optim.SGD(layer.parameters(), 1e-6)  # small: the steps are repeated

    def step() -> None:
        optimizer.zero_grad()
        layer(x).abs().sum().backward()
        optimizer.step()

    return step


def _rows(name: str, ours: nn.Module, dense: nn.Module, x: Tensor) -> list[Row]:
    against = type(dense).__name__
    still, still_dense = copy.deepcopy(ours).eval(), copy.deepcopy(dense).eval()
    steps = _training_step(ours.train(), x), _training_step(dense.train(), x)
    evaluated = partial(_evaluate, still, x.detach()), partial(_evaluate, still_dense, x.detach())
    return [
        Row(f"{name}, eval", against, *evaluated, 1 / 1.05, None),
        Row(f"{name}, training step", against, *steps, 1 / 3, None),
    ]


def linear_cases(inputs: int = 9216, outputs: int = 4096) -> list[Row]:
    """The first fully connected layer of AlexNet: a tenth of its coefficients, or frequencies."""
    x, dense = torch.randn(BATCH, inputs, requires_grad=True), nn.Linear(inputs, outputs)
    keep, rows = dense.weight.numel() // 10, []
    for kernel, select in (("dct", "magnitude"), ("dct", "lowest"), ("dwt", "magnitude")):
        layer = TransformLinear(dense, Transform(kernel, keep, (0, 1), select))
        rows += _rows(f"coded {kernel}, {select}, Linear {inputs} to {outputs}", layer, dense, x)
    layer = code(copy.deepcopy(dense), Coded("svd", rank=64))
    rows += _rows(f"coded svd, Linear {inputs} to {outputs}", layer, dense, x)
    for kernel in ("dct", "dst", "shannon"):
        layer = FrequencyLinear(inputs, outputs, kernel=kernel)
        rows += _rows(f"frequency {kernel}, Linear {inputs} to {outputs}", layer, dense, x)
    return rows


def conv_cases(channels: int = 256, size: int = 14) -> list[Row]:
    """A 3 x 3 convolution in the middle of a network."""
    x = torch.randn(BATCH, channels, size, size, requires_grad=True)
    dense = nn.Conv2d(channels, channels, 3, padding=1)
    rows, where = [], f"Conv2d {channels} to {channels}, 3x3"
    for kernel, axes in (("dct", (2, 3)), ("dct", (0, 1, 2, 3)), ("dht", (2, 3)), ("dwt", (2, 3))):
        layer = code(copy.deepcopy(dense), Transform(kernel, dense.weight.numel() // 10, axes))
        rows += _rows(f"coded {kernel}, axes {axes}, {where}", layer, dense, x)
    specs: dict[str, dict[str, Any]] = {
        "tucker": {"ranks": (64, 64), "modes": (0, 1), "sweeps": 1},
        "cp": {"rank": 32, "sweeps": 1},
        "ht": {"rank": 64},
    }
    for kernel, spec in specs.items():
        layer = code(copy.deepcopy(dense), Coded(kernel, **spec))
        rows += _rows(f"coded {kernel}, {where}", layer, dense, x)
    for kernel in ("dct", "dst", "shannon"):
        layer = FrequencyConv2d(channels, channels, 3, padding=1, kernel=kernel)
        rows += _rows(f"frequency {kernel}, {where}", layer, dense, x)
    return rows


def complex_cases(features: int = 1024) -> list[Row]:
    """Against a dense Linear of complex numbers, the layer that they stand for."""
    x = torch.randn(BATCH, features, dtype=torch.complex64, requires_grad=True)
    dense = nn.Linear(features, features, device="meta")
    dense.weight = nn.Parameter(torch.randn(features, features, dtype=torch.complex64) / features**0.5)
    dense.bias = nn.Parameter(torch.zeros(features, dtype=torch.complex64))
    rows = []
    for kernel in ("dft", "complex_shannon"):
        layer = FrequencyLinear(features, features, kernel=kernel)
        rows += _rows(f"frequency {kernel}, Linear {features} to {features}", layer, dense, x)
    return rows


def layer_cases() -> list[Row]:
    """All of them."""
    return [*linear_cases(), *conv_cases(), *complex_cases()]
