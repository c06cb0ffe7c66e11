"""One layer or its factors as an .onnx file, written node by node in milliseconds, for runtimes to be timed on.

`export` takes a second for each of the hundreds of forms whose times a plan is made of.  Weights are noise, on which
times do not depend.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from torch import nn

from ..network import is_plain

OPSET, IR = 17, 8
STEP, MIDDLE = 1 / 32, 128  # scale and zero point of every activation in 8 bits
KINDS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def parts_of(module: nn.Module) -> list[Any]:
    """The layers of a row of factors, or the one layer."""
    return [*module] if isinstance(module, nn.Sequential) else [module]


def can_write(module: nn.Module) -> bool:
    """Whether all parts are layers of torch's own that pad with zeros."""
    parts = parts_of(module)
    plain = all(any(is_plain(part, kind) for kind in KINDS) for part in parts)
    return plain and all(getattr(part, "padding_mode", "zeros") == "zeros" for part in parts)


def layer_graph(module: nn.Module, shape: Sequence[int], int8: bool) -> bytes:
    """Return the file of parts that `can_write`, for inputs of this shape, a ReLU after the last.

    int8: QuantizeLinear and DequantizeLinear around every product, as `export_int8` places them: activations of 0 to
    255 for each tensor, weights of -127 to 127 with a scale for each output channel.
    """
    from onnx import TensorProto, helper

    graph = _Graph(int8)
    name = graph.rounded("images")
    for part in parts_of(module):
        name = graph.rounded(graph.product(part, name, len(shape)), relu=part is parts_of(module)[-1])
    graph.add("Identity", [name], {}, "logits")
    ends = [
        helper.make_tensor_value_info("images", TensorProto.FLOAT, [*shape]),
        helper.make_tensor_value_info("logits", TensorProto.FLOAT, None),
    ]
    whole = helper.make_graph(graph.nodes, "layer", ends[:1], ends[1:], graph.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    file: bytes = helper.make_model(whole, opset_imports=opsets, ir_version=IR).SerializeToString()
    return file


class _Graph:
    """Nodes and constants, in the order in which they are added."""

    def __init__(self, int8: bool) -> None:
        self.int8, self.nodes, self.constants = int8, list[Any](), list[Any]()
        self.noise = np.random.default_rng(0)

    def add(self, kind: str, inputs: Sequence[str], settings: dict[str, Any], output: str = "") -> str:
        """Append a node; return the name of its output."""
        from onnx import helper

        output = output or f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [*inputs], [output], name=output, **settings))
        return output

    def constant(self, values: np.ndarray) -> str:
        """Append a constant; return its name."""
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def rounded(self, name: str, relu: bool = False) -> str:
        """Round an activation to 8 bits where the file is of them."""
        name = self.add("Relu", [name], {}) if relu else name
        if not self.int8:
            return name
        zero = 0 if relu else MIDDLE  # of what is never negative, so that runtimes let rounding do the ReLU's work
        scale = [self.constant(np.array(STEP, np.float32)), self.constant(np.array(zero, np.uint8))]
        return self.add("DequantizeLinear", [self.add("QuantizeLinear", [name, *scale], {}), *scale], {})

    def product(self, part: Any, name: str, axes: int) -> str:
        """Append a convolution or a matrix product; those of two axes have a bias, which takes no time of its own."""
        shape, outputs = tuple(part.weight.shape), _outputs(part)
        if isinstance(part, nn.Linear) and axes > 2:
            return self.add("MatMul", [name, self._weight(shape[::-1], 1)], {})
        if isinstance(part, nn.Linear):
            return self.add("Gemm", [name, self._weight(shape, 0), self._bias(outputs, shape)], {"transB": 1})
        kind, axis = ("ConvTranspose", 1) if isinstance(part, nn.ConvTranspose2d) else ("Conv", 0)
        return self.add(kind, [name, self._weight(shape, axis), self._bias(outputs, shape)], _settings(part))

    def _weight(self, shape: tuple[int, ...], axis: int) -> str:
        if not self.int8:
            return self.constant(np.float32(_size(shape)) * self.noise.standard_normal(shape, np.float32))
        values = self.noise.integers(-127, 128, shape).astype(np.int8)
        scale = self.constant(np.full(shape[axis], _size(shape) / 64, np.float32))
        zero = self.constant(np.zeros(shape[axis], np.int8))
        return self.add("DequantizeLinear", [self.constant(values), scale, zero], {"axis": axis})

    def _bias(self, outputs: int, shape: tuple[int, ...]) -> str:
        if not self.int8:
            return self.constant(np.zeros(outputs, np.float32))
        scale, zero = np.full(outputs, STEP * _size(shape) / 64, np.float32), np.zeros(outputs, np.int32)
        names = [self.constant(values) for values in (zero, scale, zero)]
        return self.add("DequantizeLinear", names, {"axis": 0})


def _size(shape: tuple[int, ...]) -> float:
    """The size of a weight whose outputs are as large as its inputs."""
    return 1 / math.sqrt(math.prod(shape[1:]))


def _outputs(part: Any) -> int:
    return int(part.out_features if isinstance(part, nn.Linear) else part.out_channels)


def _settings(part: Any) -> dict[str, Any]:
    """The attributes of a convolution's node."""
    made = {"strides": part.stride, "dilations": part.dilation, "group": part.groups, "pads": [*_pads(part)]}
    made["kernel_shape"] = part.kernel_size
    if isinstance(part, nn.ConvTranspose2d):
        made["output_padding"] = part.output_padding
    return {key: value if isinstance(value, int) else [*value] for key, value in made.items()}


def _pads(part: Any) -> Iterator[int]:
    """Zeros before each axis, then behind each."""
    if part.padding == "same":
        both = [step * (taps - 1) for step, taps in zip(part.dilation, part.kernel_size)]
    else:
        both = [0, 0] if part.padding == "valid" else [2 * zeros for zeros in part.padding]
    yield from (zeros // 2 for zeros in both)
    yield from (zeros - zeros // 2 for zeros in both)
