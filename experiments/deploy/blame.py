"""Which layer 8-bit integers hurt: the one after which the error of the outputs rises most."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from layers.checkpoint.int8.graph import PRODUCTS, prepared


class Blame(NamedTuple):
    """A layer's output in 8-bit integers is off by `error` of its norm, that of the layer before it by `before`."""

    layer: str
    error: float
    before: float

    def __str__(self) -> str:
        return f"layer {self.layer}, whose output is off by {self.error:.1%} of its norm ({self.before:.1%} before it)"


def blamed(exact: Path, suspect: Path, images: Tensor) -> Blame | None:
    """Return the layer after which the error of the outputs rises most; None where the files have other products.

    Both files are run by onnxruntime on the same images, and the outputs of their products compared in order, BatchNorm
    folded in both.
    """
    import onnx

    graphs = [prepared(onnx.load(exact)), onnx.load(suspect)]
    products = [[node for node in graph.graph.node if node.op_type in PRODUCTS] for graph in graphs]
    if [node.op_type for node in products[0]] != [node.op_type for node in products[1]]:
        return None
    right, wrong = (_outputs(graph, [n.output[0] for n in own], images) for graph, own in zip(graphs, products))
    before, steps = 0.0, []
    for node, a, b in zip(products[1], right, wrong):
        error = float(np.linalg.norm(a - b) / max(np.linalg.norm(a), np.finfo(np.float32).tiny))
        steps.append(Blame(repr(node.name), error, before))
        before = error
    return max(steps, key=lambda step: step.error - step.before, default=None)


def _outputs(model: Any, names: list[str], images: Tensor) -> list[np.ndarray]:
    """Return these values of the graph."""
    import onnx
    import onnxruntime

    kept = {entry.name for entry in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in kept)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    values: list[np.ndarray] = session.run(names, {session.get_inputs()[0].name: images.numpy()})
    return values
