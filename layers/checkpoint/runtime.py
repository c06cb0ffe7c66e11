"""Run an .onnx file as a network: in onnxruntime, or in OpenVINO."""

import importlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from checks import require

PACKAGES = {"onnxruntime": "onnxruntime", "openvino": "-e '.[openvino]'"}  # runtime -> what pip installs it by
CUDA = "CUDAExecutionProvider"  # onnxruntime's name of a GPU by NVIDIA
PRECISIONS = {"32": "f32", "bf16": "bf16"}  # of what OpenVINO computes in floating point
Run = Callable[[np.ndarray], Sequence[np.ndarray]]


def load_runtime(name: str) -> Any:
    """Return the module of a runtime; ValueError for an unknown one, and for one that is not installed."""
    require(name in PACKAGES, "runtime", name, f"one of {', '.join(PACKAGES)}")
    try:
        return importlib.import_module(name)
    except ImportError:
        allowed = f"installed here (pip install {PACKAGES[name]})"
        raise ValueError(f"runtime must be {allowed}, got {name!r}, which is not") from None


def on_cuda() -> bool:
    """Whether the onnxruntime that is installed computes on GPUs (pip install onnxruntime-gpu)."""
    return CUDA in load_runtime("onnxruntime").get_available_providers()


class OnnxNetwork(nn.Module):
    """Compute what an .onnx file says, for eval mode only: an nn.Module without parameters.

    Tensors are handed over as they lie in memory where they are contiguous and on the CPU; others are copied.

    Args:
        file: a file with one input, such as `export` and `export_int8` write; its path, or what it holds.
        runtime: onnxruntime, or openvino where it is installed.
        threads: of the runtime.
        precision: of what the file leaves in floating point: 32, or bf16, in OpenVINO on CPUs that have it.
        device: cpu, or cuda for an onnxruntime that has it; images come from and answers go to where the caller's are.

    Attributes:
        metadata: the texts that the file keeps, by name.
        shape, dtype: of the images that it takes; an axis of any size is a text.

    Raises:
        ValueError: for a runtime that is not installed; for a file that it cannot read, or with several inputs; for
            training mode, and for images that do not fit the file.

    Example:
        >>> import tempfile
        >>> from layers import export
        >>> model, x = nn.Linear(8, 2).eval(), torch.ones(3, 8)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     export(model, x, f"{folder}/net.onnx")
        ...     network = OnnxNetwork(f"{folder}/net.onnx").eval()
        >>> bool((network(x) - model(x)).abs().max() < 1e-5)
        True
    """

    opaque = "an .onnx file, whose layers are none of torch"  # for `check_visible`

    def __init__(
        self,
        file: str | os.PathLike[str] | bytes,
        runtime: str = "onnxruntime",
        threads: int = 1,
        precision: str = "32",
        device: str = "cpu",
    ) -> None:
        import onnx  # here: `layers` is imported in half the time without it

        super().__init__()
        engine = load_runtime(runtime)
        source = file if isinstance(file, bytes) else str(Path(file))
        self.name = "the .onnx file" if isinstance(source, bytes) else source
        require(isinstance(source, bytes) or Path(source).is_file(), "file", self.name, "an .onnx file that is there")
        require(threads >= 1, "threads", threads, "at least 1")
        has = tuple(PRECISIONS) if runtime == "openvino" else ("32",)
        require(precision in has, f"precision in {runtime}", precision, f"one of {', '.join(has)}")
        gpu = device == "cuda" and runtime == "onnxruntime" and on_cuda()
        require(device == "cpu" or gpu, f"device of {runtime}", device, "cpu, or cuda in onnxruntime-gpu")
        self.source, self.runtime, self.threads, self.precision = source, runtime, threads, precision
        self.device = device
        try:
            model = onnx.load_from_string(source) if isinstance(source, bytes) else onnx.load(source)
            if runtime == "onnxruntime":
                self._run = _in_onnxruntime(engine, source, threads, device)
            else:
                self._run = _in_openvino(engine, source, threads, PRECISIONS[precision])
        except Exception as error:  # each runtime has its own kinds
            allowed = f"one that {runtime} can run"
            raise ValueError(f"{self.name} must be {allowed}, got {_first_line(error)}") from error
        weights = {tensor.name for tensor in model.graph.initializer}
        inputs = [entry for entry in model.graph.input if entry.name not in weights]
        require(len(inputs) == 1, f"inputs of {self.name}", [entry.name for entry in inputs], "one")
        self.metadata = {entry.key: entry.value for entry in model.metadata_props}
        kind = inputs[0].type.tensor_type
        self.shape = tuple(axis.dim_value or axis.dim_param for axis in kind.shape.dim)
        self.dtype = torch.from_numpy(np.empty(0, onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type))).dtype
        self.eval()

    def forward(self, x: Tensor) -> Any:
        """Return the output, or a tuple of several, on the device of x."""
        require(not self.training, "mode", "training", "eval: a file cannot be trained on")
        fits = [n == axis or isinstance(axis, str) for n, axis in zip(x.shape, self.shape)]
        ok = x.dtype == self.dtype and x.ndim == len(self.shape) and all(fits)
        require(ok, "images", _words(x.dtype, x.shape), f"what {self.name} takes, {_words(self.dtype, self.shape)}")
        outputs = self._run(x.detach().cpu().contiguous().numpy())
        tensors = tuple(torch.from_numpy(output).to(x.device) for output in outputs)
        return tensors if len(tensors) > 1 else tensors[0]

    def __deepcopy__(self, memo: dict) -> "OnnxNetwork":
        return OnnxNetwork(self.source, self.runtime, self.threads, self.precision, self.device)

    @property
    def content(self) -> bytes:
        """What the file holds."""
        return self.source if isinstance(self.source, bytes) else Path(self.source).read_bytes()

    def extra_repr(self) -> str:
        """Say what runs where."""
        return f"{self.name} in {self.runtime} on {self.device}, {self.threads} threads, precision {self.precision}"


def _in_onnxruntime(engine: Any, source: str | bytes, threads: int, device: str) -> Run:
    options = engine.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3  # errors, which are raised as well
    # else its threads go on waiting at full speed after an answer, on the cores of whatever runs next
    options.add_session_config_entry("session.force_spinning_stop", "1")
    providers: list[Any] = [(CUDA, {"use_tf32": "0"})] if device == "cuda" else []  # float32 is float32
    providers.append("CPUExecutionProvider")
    session = engine.InferenceSession(source, options, providers=providers)
    name = session.get_inputs()[0].name
    return lambda x: session.run(None, {name: x})


def _in_openvino(engine: Any, source: str | bytes, threads: int, precision: str) -> Run:
    settings: dict[str, object] = {"INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": precision}
    settings["ENABLE_CPU_PINNING"] = False  # else all networks of one thread wait for the same core
    compiled = engine.compile_model(engine.Core().read_model(source), "CPU", settings)
    # outputs are copied: the runtime writes the next ones to the same memory
    return lambda x: list(compiled(x, share_inputs=True, share_outputs=False).values())


def _words(dtype: torch.dtype, shape: Sequence[int | str]) -> str:
    """A kind of tensor, as float32 of batch x 3 x 32 x 32."""
    return f"{str(dtype).removeprefix('torch.')} of {' x '.join(map(str, shape))}"


def _first_line(error: BaseException) -> str:
    """The first line of a message, or the kind of error."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
