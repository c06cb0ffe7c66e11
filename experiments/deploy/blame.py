"""Which layer 8-bit integers hurt, or a runtime in float32: the one after which the error of outputs rises most."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from layers import OnnxNetwork, fold_batchnorm
from layers.checkpoint.int8.graph import PRODUCTS, layers_of, prepared
from layers.checkpoint.runtime import PACKAGES
from layers.network import evaluating

from .cells import Cell

ONNXRUNTIME = Cell("onnxruntime", "32")


class Blame(NamedTuple):
    """A layer's output in the suspected file is off by `error` of its norm, that of the layer before it by `before`."""

    layer: str
    error: float
    before: float

    def __str__(self) -> str:
        return f"layer {self.layer}, whose output is off by {self.error:.1%} of its norm ({self.before:.1%} before it)"


def blamed(exact: Path, suspect: Path, images: Tensor) -> Blame | None:
    """Return the layer that 8-bit integers hurt most; None where the files have other products.

    Both files are run by onnxruntime on the same images, and the outputs of their products compared in order, BatchNorm
    folded in both.
    """
    import onnx

    graphs = [prepared(onnx.load(exact)), onnx.load(suspect)]
    products = [[node for node in graph.graph.node if node.op_type in PRODUCTS] for graph in graphs]
    if [node.op_type for node in products[0]] != [node.op_type for node in products[1]]:
        return None
    outputs = (_outputs(graph, [n.output[0] for n in own], images) for graph, own in zip(graphs, products))
    return _worst((node.name, a, b) for node, a, b in zip(products[1], *outputs))


def blamed_in_float(network: nn.Module, file: Path, cell: Cell, images: Tensor) -> Blame | None:
    """Return the layer of the network that a runtime computes worst in float32; None for a runtime of torch's.

    Compared are the outputs of layers by name, BatchNorm folded in both, as it is in the file.
    """
    import onnx

    if cell.runtime not in PACKAGES or isinstance(network, OnnxNetwork):
        return None
    graph = onnx.load(file)
    layers = layers_of(graph)
    nodes = {layers[node.name]: node.output[0] for node in graph.graph.node if node.op_type in PRODUCTS}
    right = _layer_outputs(fold_batchnorm(network, images[:2]), images)
    names = [name for name in right if name in nodes]
    wrong = _outputs(graph, [nodes[name] for name in names], images, cell)
    return _worst((name, right[name], b) for name, b in zip(names, wrong))


def _worst(layers: Iterable[tuple[str, Tensor, Tensor]]) -> Blame | None:
    """Return the largest rise of the error, of (name, right, wrong) in the order of computing."""
    before, steps = 0.0, []
    for name, right, wrong in layers:
        error = float((right - wrong).norm() / right.norm().clamp_min(torch.finfo(torch.float32).tiny))
        steps.append(Blame(repr(name), error, before))
        before = error
    return max(steps, key=lambda step: step.error - step.before, default=None)


def _layer_outputs(network: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Return name -> output of each module, in the order of computing; of one that is called again the last."""
    outputs: dict[str, Tensor] = {}

    def keep(name: str, output: Any) -> None:
        if isinstance(output, Tensor):
            outputs[name] = output.clone()  # before an activation in place

    hooks = [
        module.register_forward_hook(lambda module, args, output, name=name: keep(name, output))
        for name, module in network.named_modules()
    ]
    try:
        with evaluating(network):
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return outputs


def _outputs(model: Any, names: list[str], images: Tensor, cell: Cell = ONNXRUNTIME) -> list[Tensor]:
    """Return these values of the graph."""
    import onnx

    kept = [entry for entry in model.graph.output if entry.name not in names]
    del model.graph.output[:]
    model.graph.output.extend([*(onnx.ValueInfoProto(name=name) for name in names), *kept])
    outputs = OnnxNetwork(model.SerializeToString(), cell.runtime, device=cell.device)(images)
    return list(outputs if isinstance(outputs, tuple) else (outputs,))[: len(names)]
