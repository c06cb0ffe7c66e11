"""The cells of the table: a runtime and a precision, the file it runs, and how it is started."""

import shutil
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from checks import require
from layers import OnnxNetwork
from layers.checkpoint.runtime import PACKAGES

FLOAT, QUANTISED, PROGRAM = "model.onnx", "model-int8.onnx", "model.pt2"
COMPILERS = ("g++", "clang++")  # one of which torch.compile calls


class Cell(NamedTuple):
    """Where a file runs, and in which numbers."""

    runtime: str
    precision: str

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision}"

    @property
    def file(self) -> str:
        """Return the name of the file that it runs."""
        if self.precision == "int8":
            return QUANTISED
        return PROGRAM if self.runtime.startswith("torch") else FLOAT

    def start(self, folder: Path, threads: int) -> nn.Module:
        """Return the network of the file in the folder, ready to answer; torch has its threads from the caller."""
        path = folder / self.file
        if self.runtime.startswith("torch"):
            return Program(path, self.precision, compiled=self.runtime == "torch-compile")
        precision = "bf16" if self.precision == "bf16" else "32"
        return OnnxNetwork(path, self.runtime, threads, precision)


class Program(nn.Module):
    """A program of torch.export, computed in float32 or, where the precision is bf16, under autocast."""

    def __init__(self, path: Path, precision: str, compiled: bool) -> None:
        super().__init__()
        program = torch.export.load(path).module()
        # a program has no modes to set, and refuses to be asked
        self.run = [torch.compile(program) if compiled else program]
        self.in_bf16 = precision == "bf16"

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (n, classes) in float32."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.in_bf16):
            y: Tensor = self.run[0](x)
        return y.float()


HAS = {
    "torch": ("32", "bf16"),
    "torch-compile": ("32", "bf16"),
    "onnxruntime": ("32", "int8"),
    "openvino": ("32", "bf16", "int8"),
}


def cells(runtimes: Sequence[str], precisions: Sequence[str]) -> list[Cell]:
    """List the cells to measure: what is asked for, by default all that is here; ValueError for what is not here."""
    for runtime in runtimes:
        missing = _missing(runtime)
        require(missing is None, "runtime", runtime, f"one that is here: {missing}")
    can_bf16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    require("bf16" not in precisions or can_bf16, "precision", "bf16", "32 or int8 on a CPU without bf16")
    chosen = runtimes or [runtime for runtime in HAS if _missing(runtime) is None]
    wanted = precisions or ["32", *["bf16"] * can_bf16, "int8"]
    made = [Cell(runtime, precision) for runtime in chosen for precision in HAS[runtime] if precision in wanted]
    pairs = "; ".join(f"{runtime} {', '.join(has)}" for runtime, has in HAS.items())
    asked = f"{', '.join(chosen)} in {', '.join(wanted)}"
    require(bool(made), "runtimes and precisions", asked, f"a pair of these: {pairs}")
    return made


def _missing(runtime: str) -> str | None:
    """Say what to install for a runtime that is not here."""
    if runtime == "torch-compile" and not any(map(shutil.which, COMPILERS)):
        return f"torch.compile calls a C++ compiler, {' or '.join(COMPILERS)}"
    if runtime in PACKAGES and find_spec(runtime) is None:
        return f"pip install {PACKAGES[runtime]}"
    return None
