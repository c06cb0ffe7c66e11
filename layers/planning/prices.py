"""What a layer's forms cost in the unit of a budget: counted, or measured on this machine and remembered on disk."""

import json
import os
import platform
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..costs import Call, interleaved
from ..factored import Form
from ..network import Layer, write_text
from .methods import METHODS

ROUNDS, WARMUP, SECONDS = 7, 2, 5.0  # of the measurement of one layer's forms, side by side

Clock = Callable[[], float]  # seconds since some moment
Price = Callable[[Layer, Sequence[Form], Sequence[Call]], list[float]]  # (layer, its forms, its calls)


def counted(metric: str) -> Price:
    """Return the price function that reads field `metric` of each form's counted cost."""
    return lambda layer, forms, calls: [float(getattr(form.cost, metric)) for form in forms]


def cache_file() -> Path:
    """Say where measured latencies are kept: below XDG_CACHE_HOME, or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cnn-compression-kernels" / "latency.json"


class LatencyTable:
    """A table of the seconds of layers' forms, by geometry, machine, threads, dtype and torch's version.

    The forms of a layer are measured side by side with the dense layer; what is known is not measured again.  The file
    is a cache: one that is absent or damaged means that layers are measured, one that cannot be written raises OSError.
    """

    def __init__(self, path: Path | None = None, clock: Clock | None = None) -> None:
        self.path, self.clock = path or cache_file(), clock
        self.known: dict[str, float] = _read(self.path)

    def __call__(self, layer: Layer, forms: Sequence[Form], calls: Sequence[Call]) -> list[float]:
        """Return the seconds of all calls, for each form."""
        modules = [layer if f.kernel is None else METHODS[f.kernel].shell(layer, f.spec) for f in forms]
        total = [0.0] * len(forms)
        for call in calls:
            x = torch.randn(call.input, dtype=layer.weight.dtype, device=layer.weight.device)
            if x.ndim == 4 and layer.weight.is_contiguous(memory_format=torch.channels_last):
                x = x.to(memory_format=torch.channels_last)
            keys = [_key(module, x) for module in modules]
            missing = {key: module for key, module in zip(keys, modules) if key not in self.known}
            if missing:
                self._measure(missing, x)
            total = [seconds + self.known[key] for seconds, key in zip(total, keys)]
        return total

    def _measure(self, modules: dict[str, nn.Module], x: torch.Tensor) -> None:
        with torch.no_grad():
            runs = {key: partial(module, x) for key, module in modules.items()}
            timings = interleaved(runs, ROUNDS, WARMUP, SECONDS, clock=self.clock)
        self.known |= {key: timing.low for key, timing in timings.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, json.dumps(self.known, indent=0))


def _read(path: Path) -> dict[str, float]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    good = isinstance(data, dict) and all(isinstance(seconds, float) for seconds in data.values())
    return data if good else {}


def _key(module: nn.Module, x: torch.Tensor) -> str:
    """Name all that a forward pass's time depends on."""
    device = (
        torch.cuda.get_device_name(x.device) if x.is_cuda else f"{platform.machine()} {torch.get_num_threads()} threads"
    )
    layers: list[Any] = [repr(part) for part in module.modules() if not isinstance(part, nn.Sequential)]
    return " | ".join([device, torch.__version__, str(x.dtype), str([*x.shape]), str([*x.stride()]), *layers])
