"""Where a network will be served: the runtime, the precision and the threads in which a latency budget is measured."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from checks import require

from ..calibration import fold_batchnorm
from ..costs import interleaved
from ..network import copy_of, evaluating, images_of, writes_input
from .eager import LAYOUTS, VARIANTS, Served, served
from .export import export
from .int8.quantise import quantised
from .runtime import PACKAGES, OnnxNetwork, load_runtime
from .small_graphs import can_write, layer_graph

HAS = {
    "torch": ("32", "bf16"),
    "torch-compile": ("32", "bf16"),
    "onnxruntime": ("32", "int8"),
    "openvino": ("32", "bf16", "int8"),
}
COMPILERS = ("g++", "clang++")  # one of which torch.compile calls
ROUNDS = 7  # by which a layout is chosen
MOST = 32  # images that 8-bit integers are calibrated with to be timed


def missing(runtime: str) -> str | None:
    """Say what to install for a runtime that is not here."""
    if runtime == "torch-compile" and not any(map(shutil.which, COMPILERS)):
        return f"torch.compile calls a C++ compiler, {' or '.join(COMPILERS)}"
    if runtime in PACKAGES and find_spec(runtime) is None:
        return f"pip install {PACKAGES[runtime]}"
    return None


def has_bf16() -> bool:
    """Whether torch computes in bfloat16 on this CPU."""
    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


@dataclass(frozen=True)
class Serving:
    """A runtime and a precision in which `make_plan(..., serving=...)` measures layers and networks, on the CPU.

    Args:
        runtime: torch, torch-compile, onnxruntime or openvino.
        precision: 32, bf16 in torch and OpenVINO, or int8 in onnxruntime and OpenVINO.
        threads: of the runtime; by default as many as torch has.
        fold_batchnorm: into the layers before, in torch as well; the other three do so by themselves.
        images: calibration batches (n, ...) or (images, labels), for the scales of int8.
        channels_last: the layout in torch; by default the faster one of the dense network, measured.

    Raises:
        ValueError: for a runtime that is not installed, a precision that it or this CPU has not, int8 without images,
            and fewer threads than one.

    Example:
        >>> from layers import Budget, make_plan
        >>> _ = torch.manual_seed(0)
        >>> model, x = nn.Sequential(nn.Conv2d(16, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3)), torch.rand(2, 16, 20, 20)
        >>> plan = make_plan(model, Budget(latency=1.0), example=x, serving=Serving("onnxruntime", threads=1))
        >>> plan.seconds.after <= plan.seconds.before
        True
    """

    runtime: str = "torch"
    precision: str = "32"
    threads: int | None = None
    fold_batchnorm: bool = False
    images: Sequence[object] = field(default=(), repr=False, compare=False)
    channels_last: bool | None = None

    def __post_init__(self) -> None:
        require(self.runtime in HAS, "runtime", self.runtime, f"one of {', '.join(HAS)}")
        absent = missing(self.runtime)
        require(absent is None, "runtime", self.runtime, f"one that is here: {absent}")
        pairs = "; ".join(f"{runtime} {', '.join(has)}" for runtime, has in HAS.items())
        fits = self.precision in HAS[self.runtime]
        require(fits, f"precision in {self.runtime}", self.precision, f"one of its own: {pairs}")
        require(self.precision != "bf16" or has_bf16(), "precision", "bf16", "32 or int8 on a CPU without bf16")
        drawn = self.precision != "int8" or len(self.images) > 0
        require(
            drawn, "images of int8", "none", "calibration images, one at least: activations get their scales from them"
        )
        require(self.threads is None or self.threads >= 1, "threads", self.threads, "at least 1")

    def __str__(self) -> str:
        folded = ", BatchNorm folded" if self.fold_batchnorm and self.in_torch else ""
        return f"{self.runtime} {self.precision}{folded}, {self.thread_count} thread{'s' * (self.thread_count != 1)}"

    @property
    def in_torch(self) -> bool:
        """Whether torch computes, compiled or not."""
        return self.runtime.startswith("torch")

    @property
    def thread_count(self) -> int:
        """How many threads the runtime has."""
        return self.threads or torch.get_num_threads()

    def key(self, x: Tensor) -> str:
        """Name all that a layer's seconds depend on beside the layer and its input x."""
        version = torch.__version__ if self.in_torch else load_runtime(self.runtime).__version__
        layout = " channels_last" * bool(self.channels_last)
        cpu = torch.backends.cpu.get_cpu_capability()
        return f"{cpu} {self.runtime} {version} {self.precision} {self.thread_count} threads{layout}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """Give torch these threads, and torch.compile room for many networks of one class, for a while."""
        before = torch.get_num_threads()
        room = (
            torch._dynamo.config.patch(recompile_limit=VARIANTS) if self.runtime == "torch-compile" else nullcontext()
        )
        torch.set_num_threads(self.thread_count)
        try:
            with room:
                yield
        finally:
            torch.set_num_threads(before)

    def settled(self, model: nn.Module, x: Tensor) -> "Serving":
        """Return the same with a layout, chosen by timing the network in both where torch computes on images."""
        require(not x.is_cuda, "serving", str(self), "left out for a network on a GPU")
        if not self.in_torch or self.channels_last is not None or x.ndim != 4:
            return self
        both = {last: replace(self, channels_last=last) for last in LAYOUTS}
        with self.running():
            runs = {str(last): serving.network(model, x) for last, serving in both.items()}
            with torch.no_grad():
                times = interleaved(runs, ROUNDS)
        return both[times["True"].median < times["False"].median]

    def network(self, model: nn.Module, x: Tensor) -> Callable[[], object]:
        """Return what runs a copy of the network on x there."""
        with evaluating(model):
            works_in_place = writes_input(model, x)
        ready = self.started(model, x)
        if isinstance(ready, OnnxNetwork):
            return partial(ready, x.contiguous())
        placed = ready.placed(x)
        return (lambda: ready(placed.clone())) if works_in_place else partial(ready, placed)

    def started(self, model: nn.Module, x: Tensor) -> Served | OnnxNetwork:
        """Return a copy of the network that is served there, ready to answer batches like x."""
        if self.in_torch:
            model = fold_batchnorm(model, x[:1]) if self.fold_batchnorm else model
            layout = bool(self.channels_last)
            return served(model, self.precision == "bf16", layout, self.runtime == "torch-compile")
        file = (
            self._quantised(_plain(model), self._calibration(model))
            if self.precision == "int8"
            else _exported(model, x)
        )
        return self._opened(file)

    def layer(self, module: nn.Module, x: Tensor) -> Callable[[], object]:
        """Return what runs one layer or its factors on x there: an .onnx file of its own where that has the network."""
        if self.in_torch:
            apart = self.runtime == "torch-compile" and can_write(module)  # code of its own, where guards are few
            ready = served(
                torch.fx.symbolic_trace(module) if apart else module,
                self.precision == "bf16",
                bool(self.channels_last),
                self.runtime == "torch-compile",
            )
            return partial(ready.run[0], ready.placed(x))
        int8 = self.precision == "int8"
        if can_write(module):
            file = layer_graph(module, x.shape, int8)
        else:
            file = self._quantised(module, [x[:2]]) if int8 else _exported(module, x)
        return partial(self._opened(file), x.float().contiguous())

    @staticmethod
    def _quantised(model: nn.Module, images: list[Tensor]) -> bytes:
        return quantised(model, images, compensate=False)  # times do not depend on how weights are rounded

    def _opened(self, file: bytes) -> OnnxNetwork:
        return OnnxNetwork(file, self.runtime, self.thread_count, "bf16" if self.precision == "bf16" else "32")

    def _calibration(self, model: nn.Module) -> list[Tensor]:
        """The first images, as many as times need."""
        first = [images_of(batch, model)[:MOST] for batch in self.images[:MOST]]
        return list(torch.cat(first)[:MOST].split(8))


def _plain(model: nn.Module) -> nn.Module:
    return copy_of(model).to(memory_format=torch.contiguous_format)


def _exported(model: nn.Module, x: Tensor) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export(_plain(model), x[:2].contiguous(), path)
        return path.read_bytes()
