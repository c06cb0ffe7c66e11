"""`export_int8`: a network in 8-bit integers, as ONNX with QuantizeLinear and DequantizeLinear nodes."""

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from checks import require

from ...costs import FLOAT, cost
from ...network import images_of, whole
from ..export import export
from .bias_corrected import bias_corrected, loaded
from .graph import check_operators, check_quantised, layers_of, outputs_in_float, prepared, tidied
from .ranges import METHODS, calibrate_ranges
from .rounding import compensated_network

NNCF = "nncf"


def export_int8(
    small: nn.Module,
    batches: Iterable[Any],
    path: str | os.PathLike[str],
    method: str = "minmax",
    metadata: Mapping[str, str] | None = None,
    compensate: bool = True,
) -> None:
    """Write the network in 8-bit integers, to a file that appears whole or not at all.

    Every convolution and matrix product is computed in integers: weights of -127 to 127 with a scale for each output
    channel, activations of 0 to 255 with a scale and a zero point for each tensor, from the calibration images (Jacob
    et al. 2018).  BatchNorm is folded beforehand.  The file is ONNX with QuantizeLinear and DequantizeLinear nodes,
    which onnxruntime, OpenVINO and others compute in integers; its ends are named as by `export`.

    Args:
        small: any network that `export` takes; it is quantised in eval mode, and untouched.
        batches: calibration images (n, ...), or (images, labels); they are all held in memory.
        path: *.onnx.
        method: how the scales of activations are found: minmax, entropy or percentile, by onnxruntime; mse, of least
            squared error; or nncf, with which the biases are corrected for what rounding does to each channel's mean
            (Nagel et al. 2019, section 4.2), where `pip install -e '.[int8]'` was done.
        metadata: texts to keep in the file, such as how images become inputs.
        compensate: round weights by `compensated_network`, so that errors make up for another, not each to the nearest.

    Raises:
        ValueError: without calibration images, for images with NaN or infinity, for a method that is unknown or not
            installed, for what `export` refuses, and for a product that cannot be quantised, by the name of its layer.

    Example:
        >>> import tempfile, torch
        >>> from layers.checkpoint import OnnxNetwork
        >>> torch.manual_seed(0).seed() and None
        >>> model, x = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Flatten(), nn.Linear(32, 5)).eval(), torch.rand(16, 3, 4, 4)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export_int8(model, [x], f"{folder}/net.onnx")
        ...     error = OnnxNetwork(f"{folder}/net.onnx")(x) - model(x)
        >>> bool(error.abs().max() < 0.05)
        True
    """
    path = Path(path)
    require(path.suffix == ".onnx", "path", str(path), "a file name that ends in .onnx")
    check_method(method)
    images = calibration_images(small, batches)
    if compensate:  # which takes minutes for a large network: what cannot be quantised is refused before
        check_int8(small, images[0])
    file = quantised(small, images, method, metadata, compensate)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        temporary.write_bytes(file)


def quantised(
    small: nn.Module,
    batches: Iterable[Any],
    method: str = "minmax",
    metadata: Mapping[str, str] | None = None,
    compensate: bool = True,
) -> bytes:
    """Return what `export_int8` writes."""
    check_method(method)
    images = calibration_images(small, batches)
    model = float_graph(compensated_network(small, images) if compensate else small, images[0])
    layers, price = layers_of(model), cost(small, images[0][:1])
    ready = prepared(model)
    whole_graph = bias_corrected(ready, images) if method == NNCF else _by_onnxruntime(ready, images, method)
    check_quantised(whole_graph, layers)
    tidy = tidied(outputs_in_float(whole_graph), layers)
    facts = {**(metadata or {}), FLOAT: json.dumps({"params": price.params, "macs": price.macs})}
    for key, text in facts.items():
        tidy.metadata_props.add(key=key, value=text)
    return tidy.SerializeToString()


def check_method(method: str) -> None:
    """Refuse a method that is unknown or not installed, before any work."""
    require(method in (*METHODS, NNCF), "method", method, f"one of {', '.join((*METHODS, NNCF))}")
    if method == NNCF:
        loaded()


def check_int8(small: nn.Module, x: Tensor) -> None:
    """Refuse now what `export_int8` would refuse after calibration, for a network with images like x (n, ...)."""
    float_graph(small, x)


def calibration_images(small: nn.Module, batches: Iterable[Any]) -> list[Tensor]:
    """The images of the batches, on the CPU; ValueError where there are none, or some are not finite."""
    images = [images_of(batch, small).cpu() for batch in batches]
    require(bool(images), "calibration images of int8", 0, "one at least: activations get their scales from them")
    finite = all(bool(batch.isfinite().all()) for batch in images)
    require(finite, "calibration images of int8", "NaN or infinity among them", "finite")
    return images


def float_graph(small: nn.Module, x: Tensor) -> Any:
    """The network as ONNX in float32, of which every product can be quantised; ValueError as for `export_int8`."""
    import onnx

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float32.onnx"
        export(small, x[:2], path)
        model = onnx.load(path)
    check_operators(model)
    return model


def _by_onnxruntime(model: Any, images: list[Tensor], method: str) -> Any:
    """Quantise by onnxruntime's tool, scales by one of its methods."""
    import onnx
    from onnxruntime.quantization import QDQQuantizer, QuantType
    from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry

    operators = sorted({*QDQRegistry, *QLinearOpsRegistry})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prepared.onnx"
        onnx.save(model, path)
        ranges = calibrate_ranges(path, images, method, operators)
    with contextlib.redirect_stdout(io.StringIO()):
        quantiser = QDQQuantizer(
            model,
            per_channel=True,
            reduce_range=False,  # 7 bits are for CPUs whose 8-bit products saturate, those without VNNI
            weight_qType=QuantType.QInt8,
            activation_qType=QuantType.QUInt8,
            tensors_range=ranges,
            nodes_to_quantize=[],
            nodes_to_exclude=[],
            op_types_to_quantize=operators,
            extra_options={},
        )
        quantiser.quantize_model()
        quantiser.model.topological_sort()
    return quantiser.model.model
