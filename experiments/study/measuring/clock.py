"""Seconds of one encoding per kernel and stage, all measured in turn in one run."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd
import torch

import stage1_scipy
import stage2_numpy
import stage3_torch
from contract import KERNELS
from layers import interleaved

from ..weights import Weight
from . import decompositions as ranks
from .coefficients import SPEC, TRANSFORMS

STAGES = {1: stage1_scipy, 2: stage2_numpy, 3: stage3_torch}
LIMIT = 40_000  # numbers of the timed weight: stage 1 writes Kronecker products out, whose memory grows as the square
FRACTION = 1 / 8


def timed_weight(weights: Sequence[Weight]) -> Weight | None:
    """Return the largest weight within LIMIT, a convolution if there is one."""
    fitting = [weight for weight in weights if weight.w.numel() <= LIMIT]
    return max(fitting, key=lambda weight: (weight.kind == "conv", weight.w.numel()), default=None)


def times(weight: Weight, seconds: float) -> pd.DataFrame:
    """Time encode(w) in float32, median and quartiles: transforms along input channels, decompositions at FRACTION."""
    w = weight.w.float()
    calls: dict[tuple[str, str, int], Callable[[], Any]] = {}

    def add(kernel: str, axes: str, x: torch.Tensor, spec: dict[str, Any]) -> None:
        for stage, module in STAGES.items():
            array = x if stage == 3 else x.numpy()
            encode = getattr(module, KERNELS[kernel].encode)
            calls[kernel, axes, stage] = partial(encode, array, **spec)

    for kernel in TRANSFORMS:
        levels = {"levels": (w.shape[1] - 1).bit_length()} if kernel == "dwt" else {}
        add(kernel, "input channels", w, {**SPEC.get(kernel, {}), **levels, "axis": 1})
    for method in ranks.CONV if weight.kind == "conv" else ranks.MATRIX:
        x = method.view(w[None])[0].contiguous()
        spec, _ = ranks.choose(method, x.shape, FRACTION * x.numel())
        if spec is not None:
            add(method.kernel, method.layout, x, spec)
    timings = interleaved({str(key): call for key, call in calls.items()}, rounds=9, warmup=1, seconds=seconds)
    rows = []
    for kernel, axes, stage in calls:
        timing = timings[str((kernel, axes, stage))]
        rows.append({"kernel": kernel, "axes": axes, "stage": stage, **timing._asdict()})
    return pd.DataFrame(rows)
