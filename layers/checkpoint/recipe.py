"""What `loader.py` is told of a coded weight: the very operations that decode it, as data.

The loader repeats them on the stored tensors, so its weight is the one in eval mode, bit for bit (the same machine and
torch given), for every transform, axis, order and selection.  It knows no transform and calls nothing but the pure
functions of tensors in its list.
"""

from collections.abc import Callable
from operator import getitem
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from ..coded import Transform

IMPLIED = ("device", "layout", "pin_memory")  # arguments without a choice: everything is in plain memory of the CPU
# The numbers by which ATen knows what is no number in Python (c10/core/ScalarType.h, MemoryFormat.h).
NUMBERS = {
    torch.uint8: 0,
    torch.int64: 4,
    torch.float16: 5,
    torch.float32: 6,
    torch.float64: 7,
    torch.bool: 11,
    torch.bfloat16: 15,
    torch.contiguous_format: 0,
}
SORTS = {
    torch.ops.aten.sort.stable: torch.ops.aten.argsort.stable,
    torch.ops.aten.sort.default: torch.ops.aten.argsort.default,
}


def _one_result_each(graph: fx.Graph) -> None:
    """argsort for the second of the pair that sort returns, the only operation here that returns more than one."""
    for node in graph.find_nodes(op="call_function", target=getitem):
        pair, second = node.args
        assert second == 1
        node.target, node.args, node.kwargs = SORTS[pair.target], pair.args, pair.kwargs
    graph.eliminate_dead_code()


def record(function: Callable[..., Tensor], inputs: list[Tensor]) -> list[list[Any]]:
    """[place, operation, arguments by name] for each ATen operation of function(*inputs), in order.

    Inputs have the places "0", "1", ..., the last step has the result.  A text among the arguments is a place; a place
    is used again when its value is not needed any more.
    """
    with torch.no_grad():
        graph = make_fx(function)(*inputs).graph
    graph.eliminate_dead_code()
    _one_result_each(graph)
    last = {used: node for node in graph.nodes for used in node.all_input_nodes}
    place = {node: str(number) for number, node in enumerate(graph.find_nodes(op="placeholder"))}
    free: list[str] = []

    def words(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [words(v) for v in value]
        if isinstance(value, fx.Node):
            return place[value]
        return NUMBERS[value] if isinstance(value, torch.dtype | torch.memory_format) else value

    steps = []
    for node in (node for node in graph.nodes if node.op == "call_function"):
        named = dict(zip((argument.name for argument in node.target._schema.arguments), node.args)) | node.kwargs
        arguments = {name: words(value) for name, value in named.items() if name not in IMPLIED}
        free += [place[used] for used in node.all_input_nodes if last[used] is node]
        place[node] = free.pop() if free else str(len(set(place.values())))
        steps.append([place[node], node.target.overloadpacket.__name__, arguments])
    return steps


def _bits(mask: Tensor, powers: Tensor, n: int) -> Tensor:
    """As `unpack`; powers = 1, 2, ..., 128."""
    return (mask.reshape(-1, 1) & powers.to(torch.uint8)).reshape(-1)[:n].ne(0).long()


def _scattered(values: Tensor, bits: Tensor) -> Tensor:
    """The values where there is a one, as `Transform.coefficients`: the i-th one has the i-th value."""
    return torch.cat([0 * values[:1], values]).index_select(0, bits.cumsum(0) * bits)


def recipe(transform: Transform, values: Tensor) -> tuple[list[str], list[Any], list[list[Any]]]:
    """The names of the transform's tensors, then its tables; and the steps from `values` and these to the weight."""
    stored = {name: buffer.cpu() for name, buffer in transform.named_buffers() if name in transform.state_dict()}
    marks = [2 ** torch.arange(8, dtype=torch.float64)] if "mask" in stored else transform.frequencies()
    known = [transform.known(axis) for axis in transform.axes]

    def decode(values: Tensor, *rest: Tensor) -> Tensor:
        parts = iter(rest)
        kept = {name: next(parts) for name in stored}
        where = [next(parts) for _ in marks]
        tables = [tuple(next(parts) for _ in tables) for tables in known]
        if "mask" in kept:
            bits = _bits(kept["mask"], where[0], transform.shape.numel())
        else:
            index = transform.lowest(where)
            bits = index.new_zeros(transform.shape.numel()).scatter(0, index, 1)
        y = _scattered(values.double(), bits).reshape(transform.shape)
        return transform.exact(y, tables, kept.get("order_0"), kept.get("order_1")).to(values.dtype).contiguous()

    lists = [*marks, *(table for tables in known for table in tables)]
    steps = record(decode, [values.detach().cpu(), *stored.values(), *lists])
    return list(stored), [table.tolist() for table in lists], steps
