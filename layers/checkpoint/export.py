"""The network for other runtimes: an ONNX file or a torch.export program, for any batch size, neither needing us."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from checks import require

from ..coded import fold
from ..network import copy_of, whole

SUFFIXES = (".onnx", ".pt2")
ONNX_LIMIT = 2**31 - 1  # bytes of one protobuf message; beyond it the weights would need a second file
INPUT, OUTPUT, BATCH = "images", "logits", "batch"


def program(small: nn.Module, x: Tensor) -> torch.export.ExportedProgram:
    """Trace the network in eval mode, coded weights folded, for inputs like x (n, ...) with any n >= 1.

    ValueError for a network that cannot be traced so, such as one that fixes the batch size.
    """
    require(
        isinstance(x, Tensor) and x.ndim >= 1 and len(x) >= 1, "x", type(x).__name__, "a batch (n, ...), n at least 1"
    )
    meta = [name for name, tensor in small.state_dict().items() if isinstance(tensor, Tensor) and tensor.is_meta]
    require(not meta, f"state of {type(small).__name__}", f"{', '.join(meta[:3])} on the meta device", "numbers")
    model = fold(copy_of(small).eval())
    batch = torch.cat([x, x]) if len(x) == 1 else x  # torch.export takes a size of one for a constant
    try:
        return torch.export.export(model, (batch,), dynamic_shapes=({0: torch.export.Dim(BATCH)},))
    except Exception as error:  # tracing runs the network's own code, which may raise anything
        allowed = "a network that torch.export can trace for any batch size"
        raise ValueError(f"{type(small).__name__} must be {allowed}, got: {_first_lines(error)}") from error


def export(
    small: nn.Module, x: Tensor, path: str | os.PathLike[str], metadata: Mapping[str, str] | None = None
) -> None:
    """Write the network for another runtime, to a file that appears whole or not at all.

    Coded and frequency layers become the plain layers that they fold to; `small` itself is untouched, its mode
    included.  In ONNX the input is named images, the output logits (several: logits_0, logits_1, ...), and the first
    axis of each batch.

    Args:
        small: any network, in whatever mode; it is traced in eval mode.
        x: an example input (n, ...); the batch axis of the result is dynamic.
        path: *.onnx (ONNX, one file) or *.pt2 (for torch.export.load).
        metadata: texts to keep in the file, such as how images become inputs: metadata_props of ONNX; of *.pt2 files
            named as the keys, for `extra_files` of torch.export.load.

    Raises:
        ValueError: for another suffix; for a network that cannot be traced, such as one with complex frequency layers;
            as ONNX, for an operator that it has not, which is named with its layer, and for 2 GiB or more of weights.

    Example:
        >>> import tempfile, torch
        >>> from layers import export
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export(torch.nn.Linear(8, 2), torch.ones(1, 8), f"{folder}/net.pt2")
        ...     tuple(torch.export.load(f"{folder}/net.pt2").module()(torch.ones(3, 8)).shape)
        (3, 2)
    """
    path, facts = Path(path), dict(metadata or {})
    require(path.suffix in SUFFIXES, "path", str(path), f"a file name that ends in {' or '.join(SUFFIXES)}")
    texts = all(isinstance(text, str) for pair in facts.items() for text in pair)
    require(texts, "metadata", facts, "texts by names that are texts")
    traced = program(small, x)
    converted = _onnx(traced, type(small).__name__, facts) if path.suffix == ".onnx" else None
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as temporary:
        if converted is None:
            torch.export.save(traced, temporary, extra_files=facts)
        else:
            converted.save(temporary, external_data=False)


def _onnx(traced: torch.export.ExportedProgram, name: str, facts: Mapping[str, str]) -> torch.onnx.ONNXProgram:
    """Convert the program, and give its ends and its batch axis their names."""
    size = sum(t.numel() * t.element_size() for t in traced.state_dict.values())
    require(size < ONNX_LIMIT, "weights for ONNX", f"{size:,} bytes", f"less than {ONNX_LIMIT:,} bytes")
    try:
        converted = torch.onnx.export(traced, dynamo=True, verbose=False, input_names=[INPUT])
    except torch.onnx.OnnxExporterError as error:
        raise ValueError(
            f"{name} must be a network that ONNX has operators for, got {_missing(error, traced)}"
        ) from error
    assert converted is not None  # it is for dynamo=True
    graph: Any = converted.model.graph
    symbol = re.compile(rf"\b{re.escape(str(graph.inputs[0].shape[0].value))}\b")  # torch's own name of the batch size
    for value in (*graph.inputs, *(value for node in graph.all_nodes() for value in node.outputs)):
        for axis, length in enumerate(value.shape or ()):
            if not isinstance(length, int) and length.value is not None:
                value.shape[axis] = type(length)(symbol.sub(BATCH, length.value))
    for number, value in enumerate(graph.outputs):
        value.name = OUTPUT if len(graph.outputs) == 1 else f"{OUTPUT}_{number}"
    converted.model.metadata_props.update(facts)
    return converted


def _missing(error: BaseException, traced: torch.export.ExportedProgram) -> str:
    """Name the operator that ONNX lacks, and the layer that uses it, of what torch.onnx says in many lines."""
    causes = [error]
    while causes[-1].__cause__ is not None:
        causes.append(causes[-1].__cause__)
    text = "\n".join(map(str, causes))
    operator = re.search(r"No ONNX function found for <OpOverload\(op='([^']+)'", text)
    step = re.search(r"Error when translating node %(\w+)", text)
    reason = operator[1] if operator else _first_lines(causes[-1])
    if step is None:
        return reason
    nodes = [node for ep in (traced, traced.run_decompositions()) for node in ep.graph.nodes if node.name == step[1]]
    stack = list(nodes[0].meta.get("nn_module_stack", {}).values()) if nodes else []
    return f"{reason} in layer {stack[-1][0]!r} ({_class(stack[-1][1])})" if stack[1:] else reason


def _class(kind: type | str) -> str:
    """The last part of a class's name."""
    return (kind if isinstance(kind, str) else kind.__name__).rpartition(".")[2]


def _first_lines(error: BaseException) -> str:
    """The first two lines of a message in one, or the kind of error."""
    return " ".join(line.strip() for line in str(error).strip().splitlines()[:2]) or type(error).__name__
