"""The graph of an .onnx network: what a quantiser is given, what it left in floating point, and short names."""

import ast
import itertools
import math
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from checks import require

PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")  # operators that multiply, which 8 bits make faster
OTHERS = ("Einsum", "LSTM", "GRU", "RNN")  # that no quantiser of a static graph takes
PASSING = (
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Transpose",
    "MaxPool",
    "Slice",
    "Split",
    "Pad",
    "Relu",
    "Clip",
)
WEIGHT = ".weight"
SCOPES = "pkg.torch.onnx.name_scopes"  # where torch keeps the names of the modules around an operator


def layers_of(model: Any) -> dict[str, str]:
    """Name of each operator -> name of the layer that it is part of, of a file that torch wrote.

    By its weight where that has the name of a parameter: a convolution that BatchNorm was folded into has the scope of
    the latter.
    """
    stored = {tensor.name for tensor in model.graph.initializer}
    found = {}
    for node in model.graph.node:
        scopes = [ast.literal_eval(entry.value) for entry in node.metadata_props if entry.key == SCOPES]
        named = [name.removesuffix(WEIGHT) for name in node.input if name in stored and name.endswith(WEIGHT)]
        found[node.name] = named[0] if named else scopes[0][-2] if scopes and len(scopes[0]) > 1 else ""
    return found


def check_operators(model: Any) -> None:
    """Refuse a network with a product that cannot be made in 8 bits, by its layer, and one without any product."""
    layers = layers_of(model)
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        place = f"layer {layers[node.name]!r} to quantise"
        require(node.op_type not in OTHERS, place, node.op_type, f"computed by {', '.join(PRODUCTS)}")
        fixed = node.op_type == "MatMul" or node.op_type not in PRODUCTS or node.input[1] in constants
        require(fixed, place, f"{node.op_type} with a weight that the network computes", "of a weight that is stored")
    products = sum(node.op_type in PRODUCTS for node in model.graph.node)
    require(products > 0, "network to quantise", "none", "one with a convolution or a matrix product")


def prepared(model: Any) -> Any:
    """Return the network with shapes, and BatchNorm folded into the convolution before it, as a quantiser needs it."""
    import onnx
    from onnxruntime.quantization import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "prepared.onnx"
        quant_pre_process(model, path)
        return onnx.load(path)


def activation_bytes(model: Any) -> int:
    """Bytes of all that a prepared network computes of one image, in float32."""
    shapes = [[axis.dim_value or 1 for axis in entry.type.tensor_type.shape.dim] for entry in model.graph.value_info]
    return max(1, sum(4 * math.prod(shape) for shape in shapes))


def check_quantised(model: Any, layers: Mapping[str, str]) -> None:
    """Refuse a result in which a product is left in floating point: it would be slow, and nobody would know."""
    made_by = {name: node for node in model.graph.node for name in node.output}

    def integer(name: str) -> bool:
        while name in made_by and made_by[name].op_type in PASSING:  # runtimes compute these in integers as well
            name = made_by[name].input[0]
        return name in made_by and made_by[name].op_type == "DequantizeLinear"

    for node in model.graph.node:
        if node.op_type in PRODUCTS:
            ok, place = all(map(integer, node.input[:2])), layers.get(node.name, node.name)
            require(ok, f"layer {place!r} to quantise", f"a {node.op_type} left in floating point", "one of 8 bits")


def outputs_in_float(model: Any) -> Any:
    """Return the network whose answers are not rounded to 256 steps, by which near ties are decided by chance."""
    graph = model.graph
    made_by = {name: node for node in graph.node for name in node.output}
    for name in (entry.name for entry in graph.output):
        last = made_by.get(name)
        rounds = made_by.get(last.input[0]) if last is not None and last.op_type == "DequantizeLinear" else None
        if last is None or rounds is None or rounds.op_type != "QuantizeLinear":
            continue
        exact = rounds.input[0]
        graph.node.remove(last)
        if not any(rounds.output[0] in node.input for node in graph.node):
            graph.node.remove(rounds)
        for node in graph.node:
            for names in (node.input, node.output):
                names[:] = [name if other == exact else other for other in names]
    return model


def tidied(model: Any, layers: Mapping[str, str]) -> Any:
    """Return the same network in fewer bytes: short names, equal constants once, no traces of how it was made.

    Operators that multiply are named as their layers, and their weights LAYER.weight, so that a profile can be read.
    """
    import onnx

    graph = model.graph
    kept = _deduplicated(graph)
    weights = _weights(graph, layers)
    ends = {entry.name for entry in (*graph.input, *graph.output)}
    short = _short_names({*ends, *weights.values()})
    names: dict[str, str] = {name: name for name in (*ends, "")} | weights
    calls: Counter[str] = Counter()
    for node in graph.node:
        layer = layers.get(node.name, "") if node.op_type in PRODUCTS else ""
        for place, name in enumerate(node.input):
            node.input[place] = _renamed(kept.get(name, name), names, short)
        for place, name in enumerate(node.output):
            node.output[place] = _renamed(name, names, short)
        calls[layer] += 1  # a layer may have several operators, or be called again; no two may have one name
        node.name, node.doc_string = layer if calls[layer] == 1 or not layer else f"{layer}/{calls[layer]}", ""
        node.ClearField("metadata_props")
    for tensor in graph.initializer:
        tensor.name, tensor.doc_string = _renamed(tensor.name, names, short), ""
        tensor.ClearField("metadata_props")
    graph.ClearField("value_info")
    graph.ClearField("metadata_props")
    used = {node.domain for node in graph.node}
    opsets = [entry for entry in model.opset_import if entry.domain in used]
    tidy = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=model.ir_version)
    onnx.checker.check_model(tidy)
    return tidy


def _deduplicated(graph: Any) -> dict[str, str]:
    """Take out constants that another one equals; name of each that went -> of the one that stays."""
    from onnx import numpy_helper

    first: dict[tuple, str] = {}
    kept: dict[str, str] = {}
    stay = []
    for tensor in graph.initializer:
        array, name = numpy_helper.to_array(tensor), str(tensor.name)
        other = first.setdefault((tensor.data_type, array.shape, array.tobytes()), name)
        if other == name:
            stay.append(numpy_helper.from_array(array, name))
        else:
            kept[name] = other
    del graph.initializer[:]
    graph.initializer.extend(stay)
    return kept


def _weights(graph: Any, layers: Mapping[str, str]) -> dict[str, str]:
    """Name of the stored weight of each product -> LAYER.weight, the first where layers share one."""
    source = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    constants = {tensor.name for tensor in graph.initializer}
    found: dict[str, str] = {}
    for node in graph.node:
        layer = layers.get(node.name)
        stored = source.get(node.input[1]) if node.op_type in PRODUCTS else None
        if layer and stored is not None and stored in constants and layer + WEIGHT not in found.values():
            found.setdefault(stored, layer + WEIGHT)
    return found


def _short_names(taken: set[str]) -> Iterator[str]:
    """a, b, ..., z, aa, ab, ..., without those that are taken."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    for length in itertools.count(1):
        yield from (name for name in map("".join, itertools.product(letters, repeat=length)) if name not in taken)


def _renamed(name: str, names: dict[str, str], short: Iterator[str]) -> str:
    if name not in names:
        names[name] = next(short)
    return names[name]
