"""Where a layer's output is added to something else: the sum is what the rest of the network reads.

In a residual network the errors of all layers before it stand in the other summand.  What of them can be told from the
layer's own input the layer can take away, at no cost, if it is fitted to what the sum lacks.
"""

import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

IN_PLACE = {"add_", "__iadd__"}
ADDS = {"add", "__add__", "__radd__", *IN_PLACE}


class Additions(TorchFunctionMode):
    """Within it, calls `added(name, output, other)` right before an output that was noted is added to another tensor.

    Both are of one shape.  `elsewhere` are the names whose outputs something else reads as well, or instead.
    """

    def __init__(self, added: Callable[[str, Tensor, Tensor], None]) -> None:
        super().__init__()
        self.added = added
        self.elsewhere: set[str] = set()
        self._noted: dict[int, tuple[Tensor, str]] = {}  # not read yet
        self._summed: dict[int, tuple[weakref.ref[Tensor], str]] = {}

    def note(self, name: str, y: Tensor) -> None:
        """Remember the output of a layer, until something reads it."""
        self._noted[id(y)] = y, name

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call the function as it is; what returns no tensor, as a getter of a shape, does not read one."""
        kwargs = kwargs or {}
        called = getattr(func, "__name__", "")
        summand = self._summand(args) if called in ADDS and not kwargs else None
        if summand is not None:
            (output, name), other = self._noted.pop(id(args[summand])), args[1 - summand]
            if id(other) in self._noted:
                self.elsewhere.add(self._noted.pop(id(other))[1])
            self.added(name, output, other)
            if not (called in IN_PLACE and summand == 0):  # else it is the sum from now on
                self._summed[id(output)] = weakref.ref(output), name
            return func(*args)
        result = func(*args, **kwargs)
        if any(True for _ in _tensors([result])):
            for x in _tensors([*args, *kwargs.values()]):
                if id(x) in self._noted:
                    self.elsewhere.add(self._noted.pop(id(x))[1])
                elif id(x) in self._summed and self._summed[id(x)][0]() is x:
                    self.elsewhere.add(self._summed[id(x)][1])
        return result

    def _summand(self, args: Any) -> int | None:
        """Return which of two tensors of one shape is an output, the first where both are; None where none is."""
        if len(args) != 2 or not all(isinstance(x, Tensor) for x in args) or args[0] is args[1]:
            return None
        if args[0].shape != args[1].shape:
            return None
        known = [place for place in (0, 1) if id(args[place]) in self._noted]
        return known[0] if known else None


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
