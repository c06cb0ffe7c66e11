"""Trace one forward pass: each layer's calls, the multiply-accumulates of layers and between them, what is read."""

import math
import warnings
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ..coded import Decoded, TransformLinear
from ..frequency import FrequencyConv2d, FrequencyLinear
from ..network import answer, check_visible, images_of, input_of, observing

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, FrequencyConv2d, *TRANSPOSED)
LINEARS = (nn.Linear, FrequencyLinear, TransformLinear)
PLACEHOLDER = nn.Sequential()  # what every module has, it has; so a layer's factors, which are one, have it too


class Call(NamedTuple):
    """One use of a layer in a forward pass."""

    input: torch.Size
    output: torch.Size
    macs: int


class Trace(NamedTuple):
    """What one forward pass of a batch did."""

    calls: dict[str, list[Call]]  # name of each convolution and Linear that was called -> its calls
    elsewhere: int  # multiply-accumulates that the network computed itself, not in one of these calls
    kept: dict[str, str]  # name of such a layer -> why its factors could not be called in its place
    images: int

    @property
    def macs(self) -> int:
        """All multiply-accumulates of the batch."""
        return self.elsewhere + sum(call.macs for calls in self.calls.values() for call in calls)


def layer_macs(module: nn.Module, x: Tensor, y: Tensor) -> int:
    """One multiply-accumulate per weight of a filter and output value; of a transposed convolution, and input value."""
    if isinstance(module, TRANSPOSED):
        return x.numel() * module.out_channels // module.groups * math.prod(module.kernel_size)
    if isinstance(module, CONVS):
        return y.numel() * module.in_channels // module.groups * math.prod(module.kernel_size)
    if isinstance(module, LINEARS):
        return y.numel() * module.in_features
    return 0


def trace(model: nn.Module, x: Tensor) -> Trace:
    """Trace one forward pass of a copy of x (n, ...) in eval mode; ValueError as for `cost`."""
    check_visible(model)
    x = images_of(x, model)
    calls: dict[str, list[Call]] = defaultdict(list)
    layers = {name: module for name, module in model.named_modules() if isinstance(module, (*CONVS, *LINEARS))}
    decoders = [module for module in model.modules() if isinstance(module, Decoded)]
    kept: dict[str, str] = {}
    with observing(model), _counted_operators(), ExitStack() as stack:
        stack.enter_context(_watched(layers, kept))
        counter = stack.enter_context(_Elsewhere())
        for name, layer in layers.items():

            def hook(module: nn.Module, args: tuple, kwargs: dict, y: Tensor, name: str = name) -> None:
                given = input_of(args, kwargs)
                if isinstance(module, TRANSPOSED) and len(args) + len(kwargs) > 1:
                    kept.setdefault(name, "the network calls it with an output_size, which factors do not take")
                calls[name].append(Call(given.shape, y.shape, layer_macs(module, given, y)))

            stack.callback(layer.register_forward_hook(hook, with_kwargs=True).remove)
        for handle in counter.leave_out([*layers.values(), *decoders]):
            stack.callback(handle.remove)
        answer(model, x)
        elsewhere = counter.macs
    return Trace(dict(calls), elsewhere, kept, len(x))


class _Elsewhere(FlopCounterMode):
    """Counts the operators outside of the calls of given modules: torch's counter, and products with vectors."""

    def __init__(self) -> None:
        aten = torch.ops.aten
        super().__init__(
            display=False,
            custom_mapping={
                aten.mv: lambda a, x, out_shape: 2 * math.prod(a),
                aten.addmv: lambda y, a, x, out_shape, **_: 2 * math.prod(a),
                aten.dot: lambda x, y, out_shape: 2 * math.prod(x),
                aten.vdot: lambda x, y, out_shape: 2 * math.prod(x),
                aten._trilinear: lambda x, w, z, *_, out_shape, **__: 2 * math.prod(out_shape) * math.prod(w[-2:]),
            },
        )
        self.depth, self.start, self.inside = 0, 0, 0

    @property
    def macs(self) -> int:
        """Two operations are one multiply-accumulate."""
        return (self.get_total_flops() - self.inside) // 2

    def leave_out(self, modules: Iterable[nn.Module]) -> Iterator[Any]:
        """The handles of the hooks that set apart what is counted inside the calls of these modules."""

        def enter(*_: Any) -> None:
            if self.depth == 0:
                self.start = self.get_total_flops()
            self.depth += 1

        def leave(*_: Any) -> None:
            self.depth -= 1
            if self.depth == 0:
                self.inside += self.get_total_flops() - self.start

        for module in modules:
            yield module.register_forward_pre_hook(enter)
            yield module.register_forward_hook(leave)


@contextmanager
def _counted_operators() -> Iterator[None]:
    """Compute attention and recurrent layers by matrix products, which are counted, where a library has one kernel."""
    backends: Sequence[Any] = (torch.backends.mkldnn, torch.backends.cudnn)
    before = [backend.enabled for backend in backends]
    try:
        for backend in backends:
            backend.enabled = False
        with sdpa_kernel(SDPBackend.MATH), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Using `torch.compile", UserWarning)  # of the counter's hooks
            yield
    finally:
        for backend, enabled in zip(backends, before):
            backend.enabled = enabled


@contextmanager
def _watched(layers: Mapping[str, nn.Module], kept: dict[str, str]) -> Iterator[None]:
    """Note the first attribute of each layer that the network reads, as in self.conv.weight.dtype: factors lack it.

    What a layer reads of itself while it is called is its own affair.
    """
    kinds = [(layer, type(layer)) for layer in layers.values()]
    try:
        for name, layer in layers.items():
            layer.__class__ = _watching(name, type(layer), kept)
        yield
    finally:
        for layer, kind in kinds:
            layer.__class__ = kind


def _watching(name: str, kind: Any, kept: dict[str, str]) -> type:
    called = [0]

    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        called[0] += 1
        try:
            return kind.__call__(self, *args, **kwargs)
        finally:
            called[0] -= 1

    def __getattribute__(self: Any, key: str) -> Any:
        value = kind.__getattribute__(self, key)
        note(key)
        return value

    def __getattr__(self: Any, key: str) -> Any:  # parameters, and what the layer lacks
        value = kind.__getattr__(self, key)
        note(key)
        return value

    def note(key: str) -> None:
        if not (called[0] or key.startswith("_") or hasattr(PLACEHOLDER, key)):
            kept.setdefault(name, f"the network reads its {key}, which factors have not")

    members = {"__call__": __call__, "__getattribute__": __getattribute__, "__getattr__": __getattr__}
    return type(kind.__name__, (kind,), members | {"__module__": kind.__module__})
