"""What a layer's forms cost in the unit of a budget: counted, or measured where they will run, remembered on disk."""

import json
import os
import platform
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..costs import Call, forward, interleaved
from ..factored import Form
from ..network import Layer, write_text
from .methods import METHODS

ROUNDS, WARMUP, SECONDS = 7, 2, 3.0  # of one measurement of a layer's forms, side by side

Clock = Callable[[], float]  # seconds since some moment
Price = Callable[[Layer, Sequence[Form], Sequence[Call]], list[float]]  # (layer, its forms, its calls)


class Server(Protocol):
    """Where a latency is measured, as `layers.Serving`, which is given from above."""

    def key(self, x: Tensor) -> str:
        """Name all that a layer's seconds for inputs like x depend on there, beside the layer."""

    def running(self) -> AbstractContextManager[None]:
        """Enter what has to hold while something runs there."""

    def settled(self, model: nn.Module, x: Tensor) -> "Server":
        """Return the same, with all that the dense network decides."""

    def network(self, model: nn.Module, x: Tensor) -> Callable[[], object]:
        """Return what runs the network on x there."""

    def layer(self, module: nn.Module, x: Tensor) -> Callable[[], object]:
        """Return what runs a layer or its factors on x there."""


class Here:
    """torch as it is, networks as they are: on their device, in their dtype and layout."""

    def key(self, x: Tensor) -> str:
        """Name machine, threads and version."""
        threads = f"{platform.machine()} {torch.get_num_threads()} threads"
        return f"{torch.cuda.get_device_name(x.device) if x.is_cuda else threads} | {torch.__version__}"

    def running(self) -> AbstractContextManager[None]:
        """Change nothing."""
        return nullcontext()

    def settled(self, model: nn.Module, x: Tensor) -> "Here":
        """Return the same."""
        return self

    def network(self, model: nn.Module, x: Tensor) -> Callable[[], object]:
        """Return a forward pass."""
        return forward(model, x)

    def layer(self, module: nn.Module, x: Tensor) -> Callable[[], object]:
        """Return a forward pass."""
        return partial(module, x)


def counted(metric: str) -> Price:
    """Return the price function that reads field `metric` of each form's counted cost."""
    return lambda layer, forms, calls: [float(getattr(form.cost, metric)) for form in forms]


def cache_file() -> Path:
    """Say where measured latencies are kept: below XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cnn-compression-kernels" / "latency.json"


class LatencyTable:
    """A table of the seconds of layers' forms, by geometry, dtype, machine, threads, runtime and its version.

    The forms of a layer are measured side by side with the dense layer, one of them; what is known is not measured
    again, and what comes later is scaled by what the dense layer takes then: machines drift.  The file is a cache: one
    that is absent or damaged means that layers are measured, one that cannot be written raises OSError.
    """

    def __init__(self, path: Path | None = None, clock: Clock | None = None, server: Server | None = None) -> None:
        self.path, self.clock, self.server = path or cache_file(), clock, server or Here()
        self.known: dict[str, float] = _read(self.path)

    def __call__(self, layer: Layer, forms: Sequence[Form], calls: Sequence[Call]) -> list[float]:
        """Return the seconds of all calls, for each form."""
        modules = [layer if f.kernel is None else noise(METHODS[f.kernel].shell(layer, f.spec)) for f in forms]
        total = [0.0] * len(forms)
        for call in calls:
            x = torch.randn(call.input, dtype=layer.weight.dtype, device=layer.weight.device)
            if x.ndim == 4 and layer.weight.is_contiguous(memory_format=torch.channels_last):
                x = x.to(memory_format=torch.channels_last)
            keys = [_key(self.server, module, x) for module in modules]
            wanted = dict(zip(keys, modules))
            if any(key not in self.known for key in wanted):
                self._measure(wanted, next(key for key, form in zip(keys, forms) if form.kernel is None), x)
            total = [seconds + self.known[key] for seconds, key in zip(total, keys)]
        return total

    def _measure(self, modules: dict[str, nn.Module], anchor: str, x: Tensor) -> None:
        with torch.no_grad(), self.server.running():
            missing = {key: module for key, module in modules.items() if key not in self.known or key == anchor}
            runs = {key: self.server.layer(module, x) for key, module in missing.items()}
            timings = interleaved(runs, ROUNDS, WARMUP, SECONDS, clock=self.clock)
        scale = self.known.get(anchor, timings[anchor].median) / timings[anchor].median
        self.known |= {key: scale * timing.median for key, timing in timings.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, json.dumps(self.known, indent=0))


def noise(module: nn.Module) -> nn.Module:
    """Fill unset memory, which may hold numbers that are slow to compute with, by numbers of the size of weights."""
    draw = torch.Generator().manual_seed(0)
    for tensor in module.state_dict().values():
        values = torch.randn(tensor.shape, generator=draw) / max(1, tensor[:1].numel()) ** 0.5
        with torch.no_grad():
            tensor.copy_(values)
    return module


def _read(path: Path) -> dict[str, float]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    good = isinstance(data, dict) and all(isinstance(seconds, float) for seconds in data.values())
    return data if good else {}


def _key(server: Server, module: nn.Module, x: Tensor) -> str:
    """Name all that a forward pass's time depends on."""
    layers: list[Any] = [repr(part) for part in module.modules() if not isinstance(part, nn.Sequential)]
    return " | ".join([server.key(x), str(x.dtype), str([*x.shape]), str([*x.stride()]), *layers])
