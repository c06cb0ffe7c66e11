"""Which BatchNorm takes away the mean of a layer's output, as a bias of the layer would."""

from collections import Counter, defaultdict
from contextlib import ExitStack
from functools import partial
from typing import Any

from torch import Tensor, nn

from ..network import input_of, is_plain

PAIRS = ((nn.Conv2d, nn.BatchNorm2d), (nn.Linear, nn.BatchNorm1d))


class Followers:
    """The calls of a forward pass, of which `found` tells the BatchNorms that alone read what a layer puts out.

    Read off the graph of the gradient: what a network adds or multiplies by itself is seen there as well.
    """

    def __init__(self, model: nn.Module, hooks: ExitStack) -> None:
        self.model = model
        self.outputs: dict[str, list[Any]] = defaultdict(list)  # name -> the node that made it, for each call
        self.inputs: dict[str, list[Any]] = defaultdict(list)
        for name, module in model.named_modules():
            if is_plain(module, nn.Conv2d) or is_plain(module, nn.Linear):
                hooks.callback(module.register_forward_hook(partial(self._left, name)).remove)
            elif any(is_plain(module, norm) for _, norm in PAIRS) and module.running_mean is not None:
                hooks.callback(module.register_forward_pre_hook(partial(self._entered, name), with_kwargs=True).remove)

    def _left(self, name: str, _: nn.Module, args: Any, y: Tensor) -> None:
        self.outputs[name].append(y.grad_fn if y.ndim in (2, 4) else None)  # with images and channels alone, and a map

    def _entered(self, name: str, _: nn.Module, args: Any, kwargs: Any) -> None:
        x = input_of(args, kwargs)
        self.inputs[name].append(x.grad_fn)

    def found(self, scores: Tensor) -> dict[str, str]:
        """Layer -> the BatchNorm after it, where each is called once and nothing else reads what is between them."""
        nodes = [] if scores.grad_fn is None else _graph(scores.grad_fn)  # no gradient: the backward pass will say so
        readers = Counter(below for node in nodes for below, _ in node.next_functions)
        made = {calls[0]: name for name, calls in self.outputs.items() if len(calls) == 1 and calls[0] is not None}
        pairs = {}
        for norm, calls in self.inputs.items():
            name = made.get(calls[0]) if len(calls) == 1 else None
            if name is not None and readers[calls[0]] == 1 and self._fit(name, norm):
                pairs[name] = norm
        return pairs

    def _fit(self, name: str, norm: str) -> bool:
        layer, after = self.model.get_submodule(name), self.model.get_submodule(norm)
        return any(is_plain(layer, kind) and is_plain(after, other) for kind, other in PAIRS)


def _graph(node: Any) -> list[Any]:
    """Every node of the graph, each once."""
    seen, waiting = {node}, [node]
    while waiting:
        for below, _ in waiting.pop().next_functions:
            if below is not None and below not in seen:
                seen.add(below)
                waiting.append(below)
    return [*seen]
