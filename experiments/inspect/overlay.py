"""Files for Model Explorer, which colours the nodes of a model.onnx by a value each; Netron shows the graph itself.

A file is one `GraphNodeData` (google-ai-edge/model-explorer, node_data_builder.py): `results`, by the name of a node's
output tensor, and a `gradient` from the least to the largest value.
"""

import json
from pathlib import Path

import onnx

from layers.network import write_text
from layers.planning import LayerPlan

from ..lab.reporting.style import look
from .source import Network

GRADIENT = [{"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": "#b3a6ff"}]
VALUES = ("macs", "params", "error", "kernel")


def value(row: LayerPlan, what: str) -> float | str:
    """Return a layer's value: what is kept of a cost, the error of the plan, or its kernel."""
    if what == "kernel":
        return row.kernel or "dense"
    if what == "error":
        return row.error
    before, after = getattr(row.before, what), getattr(row.after, what)
    return after / before if before else 1.0


def write(network: Network) -> list[Path]:
    """Write model.onnx.VALUE.json beside the network's model.onnx; nothing where it was not exported."""
    path = network.folder / "model.onnx"
    if not path.is_file():
        return []
    nodes, written = nodes_of_layers(path, [row.name for row in network.plan.layers]), []
    for what in VALUES:
        results: dict[str, dict[str, float | str]] = {}
        for row in network.plan.layers:
            found: dict[str, float | str] = {"value": value(row, what)}
            colour = {"bgColor": look(row.kernel or "dense").colour} if what == "kernel" else {}
            results |= dict.fromkeys(nodes.get(row.name, ()), found | colour)
        data = {"name": f"{network.name}: {what}", "results": results}
        written.append(path.with_name(f"{path.name}.{what}.json"))
        write_text(
            written[-1], json.dumps(data | ({} if what == "kernel" else {"gradient": GRADIENT}), indent=1) + "\n"
        )
    return written


def nodes_of_layers(path: Path, layers: list[str]) -> dict[str, list[str]]:
    """Return layer -> output tensors of the nodes that read its weights, by the names that the exporter keeps."""
    graph = onnx.load(path, load_external_data=False).graph
    found: dict[str, list[str]] = {}
    for node in graph.node:
        for tensor in node.input:
            owners = [name for name in layers if tensor.startswith(f"{name}.")]
            if owners and node.output:
                found.setdefault(max(owners, key=len), []).append(node.output[0])
                break
    return found
