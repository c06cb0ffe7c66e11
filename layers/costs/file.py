"""What a network in an .onnx file costs, counted in the file: `cost` and `storage` of one that torch does not run."""

import json
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


def _stored(graph: Any, arrays: dict[str, np.ndarray]) -> Iterator[Iterator[tuple[str, np.ndarray]]]:
    """The numbers of weights and biases by name, and those by which integers are numbers."""
    source = {node.output[0]: node.input for node in graph.node if node.op_type == SCALED}
    taken = [source.get(name, [name])[0] for node in graph.node if node.op_type in WEIGHTED for name in node.input[1:]]
    yield ((name, arrays[name]) for name in taken if name in arrays)
    scaled = [name for node in graph.node if node.op_type in (SCALED, "QuantizeLinear") for name in node.input[1:]]
    yield ((name, arrays[name]) for name in scaled if name in arrays)
