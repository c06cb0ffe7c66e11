"""Compressed layers, model surgery and planning, for any nn.Module."""

import moved as _moved  # old module paths go on importing

from .calibration import (
    LayerStats as LayerStats,
    Stats as Stats,
    calibrate as calibrate,
    fold_batchnorm as fold_batchnorm,
    reestimate_batchnorm as reestimate_batchnorm,
)
from .checkpoint import (
    OnnxNetwork as OnnxNetwork,
    Serving as Serving,
    export as export,
    export_int8 as export_int8,
    load as load,
    on_grid as on_grid,
    save as save,
)
from .coded import (
    Coded as Coded,
    Transform as Transform,
    TransformLinear as TransformLinear,
    code as code,
    fold as fold,
)
from .costs import Cost as Cost, Timing as Timing, cost as cost, interleaved as interleaved, latency as latency
from .fitting import refit as refit
from .frequency import (
    Cardioid as Cardioid,
    ComplexAvgPool2d as ComplexAvgPool2d,
    ComplexBatchNorm2d as ComplexBatchNorm2d,
    ComplexMaxPool2d as ComplexMaxPool2d,
    ConcatenatedReLU as ConcatenatedReLU,
    FrequencyConv2d as FrequencyConv2d,
    FrequencyLinear as FrequencyLinear,
    Magnitude as Magnitude,
    frequency_layers as frequency_layers,
    load_frequency_layers as load_frequency_layers,
    save_frequency_layers as save_frequency_layers,
)
from .network import replace as replace
from .planning import (
    METHODS as METHODS,
    SELECTORS as SELECTORS,
    Budget as Budget,
    Plan as Plan,
    compress as compress,
    make_plan as make_plan,
)
from .shrinking import Shrunk as Shrunk, shrink as shrink
from .thinning import Thin as Thin, prune_channels as prune_channels

__version__ = "0.1.0"

_moved.enter_namesakes(__name__)
