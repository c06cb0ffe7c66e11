"""Compressed layers, model surgery and planning, for any nn.Module."""

from .calibration.batchnorm import reestimate_batchnorm
from .calibration.calibrate import calibrate
from .calibration.stats import LayerStats, Stats
from .checkpoint.checkpoint import load, save
from .checkpoint.export import export
from .coded.linear import TransformLinear
from .coded.parametrisation import Coded, code, fold
from .coded.transform import Transform
from .costs.cost import Cost, cost
from .costs.timing import Timing, interleaved, latency
from .fitting.refit import refit
from .frequency.complex import (
    Cardioid,
    ComplexAvgPool2d,
    ComplexBatchNorm2d,
    ComplexMaxPool2d,
    ConcatenatedReLU,
    Magnitude,
)
from .frequency.modules import FrequencyConv2d, FrequencyLinear
from .frequency.swap import frequency_layers, load_frequency_layers, save_frequency_layers
from .network.surgery import replace
from .planning.budget import Budget
from .planning.compress import compress
from .planning.methods import METHODS
from .planning.plan import Plan
from .planning.planner import make_plan
from .planning.selectors import SELECTORS
from .thinning.channels import Thin, prune_channels

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
