"""Compressed layers, model surgery and planning, for any nn.Module."""

from .calibration import LayerStats, Stats, calibrate, reestimate_batchnorm
from .checkpoint import export, load, save
from .coded import Coded, Transform, TransformLinear, code, fold
from .costs import Cost, Timing, cost, interleaved, latency
from .fitting import refit
from .frequency import (
    Cardioid,
    ComplexAvgPool2d,
    ComplexBatchNorm2d,
    ComplexMaxPool2d,
    ConcatenatedReLU,
    FrequencyConv2d,
    FrequencyLinear,
    Magnitude,
    frequency_layers,
    load_frequency_layers,
    save_frequency_layers,
)
from .network import replace
from .planning import METHODS, SELECTORS, Budget, Plan, compress, make_plan
from .thinning import Thin, prune_channels

__all__ = [
    "METHODS",
    "SELECTORS",
    "Budget",
    "Cardioid",
    "Coded",
    "ComplexAvgPool2d",
    "ComplexBatchNorm2d",
    "ComplexMaxPool2d",
    "ConcatenatedReLU",
    "Cost",
    "FrequencyConv2d",
    "FrequencyLinear",
    "LayerStats",
    "Magnitude",
    "Plan",
    "Stats",
    "Thin",
    "Timing",
    "Transform",
    "TransformLinear",
    "calibrate",
    "code",
    "compress",
    "cost",
    "export",
    "fold",
    "frequency_layers",
    "interleaved",
    "latency",
    "load",
    "load_frequency_layers",
    "make_plan",
    "prune_channels",
    "reestimate_batchnorm",
    "refit",
    "replace",
    "save",
    "save_frequency_layers",
]
