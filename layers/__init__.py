"""Compressed layers, model surgery and planning, for any nn.Module."""

from .batchnorm import reestimate_batchnorm
from .budget import Budget
from .calibrate import calibrate
from .channels import Thin, prune_channels
from .coded import Coded, code, fold
from .complex_modules import (
    Cardioid,
    ComplexAvgPool2d,
    ComplexBatchNorm2d,
    ComplexMaxPool2d,
    ConcatenatedReLU,
    Magnitude,
)
from .compress import compress, load, save
from .cost import Cost, cost
from .export import export
from .frequency import FrequencyConv2d, FrequencyLinear
from .frequency_swap import frequency_layers, load_frequency_layers, save_frequency_layers
from .methods import METHODS
from .plan import Plan
from .planner import make_plan
from .refit import refit
from .selectors import SELECTORS
from .stats import LayerStats, Stats
from .surgery import replace
from .timing import Timing, interleaved, latency
from .transform import Transform
from .transform_linear import TransformLinear

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
