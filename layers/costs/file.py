"""What a network in an .onnx file costs, counted in the file: `cost` and `storage` of one that torch does not run."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from checks import require

FLOAT = "float32"  # key of the metadata that tells what the network cost before it was quantised
WEIGHTED = ("Conv", "ConvTranspose", "Gemm", "MatMul")
SCALED = "DequantizeLinear"


class FileCost(NamedTuple):
    """Parameters and multiply-accumulates of the float32 network that a file was made of, and what the file holds."""

    params: int
    macs: int
    nonzeros: int  # among the file's weights and biases
    bits: float  # of weights, biases, scales and zero points together, per parameter
    bytes: int  # of the file


def file_cost(file: str | os.PathLike[str] | bytes) -> FileCost:
    """Count what an .onnx file of `export_int8` costs, given its path or what it holds.

    BatchNorm is folded in the file; its parameters count, as they do for the network that was quantised.  Scales and
    zero points of activations count as bits, and constants that are no parameters, such as shapes, do not.

    Raises:
        ValueError: for a file that does not tell what the network cost in float32.
    """
    import onnx

    content = file if isinstance(file, bytes) else Path(file).read_bytes()
    model = onnx.load_from_string(content)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    require(
        FLOAT in facts,
        "file",
        file if not isinstance(file, bytes) else "another",
        "an .onnx file that export_int8 wrote",
    )
    before = json.loads(facts[FLOAT])
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    values, scales = (dict(part) for part in _stored(model.graph, arrays))
    nonzeros = sum(int(np.count_nonzero(array)) for array in values.values())
    held = sum(array.nbytes for array in (values | scales).values())
    return FileCost(before["params"], before["macs"], nonzeros, 8 * held / before["params"], len(content))


def file_macs(file: str | os.PathLike[str] | bytes) -> int:
    """Count the multiply-accumulates of one image in an .onnx file: of its convolutions and matrix products.

    A convolution has one for each output and each weight that reaches it, a product of (n, k) with (k, m) has n k m.

    Raises:
        ValueError: for a file with an operator of unknown shape, by its name.
    """
    import onnx

    content = file if isinstance(file, bytes) else Path(file).read_bytes()
    model = onnx.load_from_string(content)
    for entry in model.graph.input:
        entry.type.tensor_type.shape.dim[0].dim_value = 1  # one image: then all shapes are numbers
    model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes: dict[str, list[int]] = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    for entry in (*model.graph.input, *model.graph.value_info, *model.graph.output):
        shapes[entry.name] = [axis.dim_value for axis in entry.type.tensor_type.shape.dim]
    return sum(_macs(node, shapes) for node in model.graph.node if node.op_type in WEIGHTED)


def _macs(node: Any, shapes: dict[str, list[int]]) -> int:
    x, weight, y = (shapes.get(name, []) for name in (*node.input[:2], node.output[0]))
    known = all(shape and 0 not in shape for shape in (x, weight, y))
    require(known, f"shapes of operator {node.name!r}", [x, weight, y], "known to onnx.shape_inference")
    if node.op_type == "Conv":
        return math.prod(y) * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(x) * math.prod(weight[1:])
    across = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return math.prod(y) * (x[0] if across else x[-1])


def _stored(graph: Any, arrays: dict[str, np.ndarray]) -> Iterator[Iterator[tuple[str, np.ndarray]]]:
    """The numbers of weights and biases by name, and those by which integers are numbers."""
    source = {node.output[0]: node.input for node in graph.node if node.op_type == SCALED}
    taken = [source.get(name, [name])[0] for node in graph.node if node.op_type in WEIGHTED for name in node.input[1:]]
    yield ((name, arrays[name]) for name in taken if name in arrays)
    scaled = [name for node in graph.node if node.op_type in (SCALED, "QuantizeLinear") for name in node.input[1:]]
    yield ((name, arrays[name]) for name in scaled if name in arrays)
