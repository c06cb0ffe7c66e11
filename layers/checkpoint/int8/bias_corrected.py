"""Quantise by NNCF, which corrects biases for what rounding does to the mean of each channel."""

import contextlib
import importlib
import io
import logging
import os
from collections.abc import Sequence
from typing import Any
from unittest import mock

from torch import Tensor

from .graph import activation_bytes

SUBSET = 300  # images, as NNCF takes: the correction runs the network again for every layer
HELD = 2**31  # bytes of activations, which NNCF keeps of all of them: fewer images where they are large
SILENT = {"NNCF_CI": "1"}  # else NNCF tells its makers about each use over the network


def bias_corrected(model: Any, images: Sequence[Tensor]) -> Any:
    """Return the .onnx network with QDQ nodes: min-max scales, full bias correction (Nagel et al. 2019, section 4.2).

    ValueError where NNCF fails, as it does (3.4) for a residual branch of a single convolution.
    """
    nncf = loaded()
    from ..export import INPUT

    singles = [image[None].contiguous().numpy() for batch in images for image in batch]
    singles = singles[: max(1, min(SUBSET, HELD // activation_bytes(model)))]
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            return nncf.quantize(
                model,
                nncf.Dataset(singles, lambda image: {INPUT: image}),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(singles),
                fast_bias_correction=False,
            )
    except Exception as error:  # whatever a library raises in the middle of its work
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(
            f"network for method nncf must be one that NNCF can correct, got {reason}; minmax needs none"
        ) from error


def loaded() -> Any:
    """Load the module of NNCF, quiet; ValueError in one sentence where it is not installed."""
    try:
        with mock.patch.dict(os.environ, SILENT), contextlib.redirect_stderr(io.StringIO()):
            nncf = importlib.import_module("nncf")
    except ImportError:
        raise ValueError(
            "method nncf must be installed here (pip install -e '.[int8]'), got 'nncf', which is not"
        ) from None
    nncf.set_log_level(logging.ERROR)
    return nncf
