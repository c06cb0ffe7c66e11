"""Build layers whose parameters are frequencies."""

from .basis import BASES as BASES, COMPLEX as COMPLEX
from .complex import (
    Cardioid as Cardioid,
    ComplexAvgPool2d as ComplexAvgPool2d,
    ComplexBatchNorm2d as ComplexBatchNorm2d,
    ComplexMaxPool2d as ComplexMaxPool2d,
    ConcatenatedReLU as ConcatenatedReLU,
    Magnitude as Magnitude,
)
from .modules import FrequencyConv2d as FrequencyConv2d, FrequencyLinear as FrequencyLinear
from .swap import (
    conv_like as conv_like,
    frequency_layers as frequency_layers,
    load_frequency_layers as load_frequency_layers,
    save_frequency_layers as save_frequency_layers,
)
