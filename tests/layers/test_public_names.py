"""The face of `layers`: what users import from it, and its version."""

import re
import types

import layers

PUBLIC = {
    *("METHODS", "SELECTORS", "Budget", "Plan", "compress", "cost", "latency", "make_plan", "on_grid", "replace"),
    *(
        "Cost",
        "Timing",
        "interleaved",
        "LayerStats",
        "Stats",
        "calibrate",
        "fold_batchnorm",
        "reestimate_batchnorm",
        "refit",
    ),
    *("Coded", "Transform", "TransformLinear", "code", "fold", "Thin", "prune_channels", "export", "load", "save"),
    *("OnnxNetwork", "Serving", "export_int8", "Shrunk", "shrink"),
    *("FrequencyConv2d", "FrequencyLinear", "Magnitude", "Cardioid", "ConcatenatedReLU"),
    *("ComplexAvgPool2d", "ComplexBatchNorm2d", "ComplexMaxPool2d"),
    *("frequency_layers", "load_frequency_layers", "save_frequency_layers"),
}


def test_every_public_name_is_there_and_no_other():
    names = {name for name, value in vars(layers).items() if not isinstance(value, types.ModuleType)}
    assert {name for name in names if not name.startswith("_")} == PUBLIC


def test_the_version_is_one_that_pip_can_compare():
    assert re.fullmatch(r"\d+\.\d+\.\d+", layers.__version__)
