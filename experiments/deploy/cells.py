"""The cells of the table: a runtime, a precision and a device, the file it runs, and how it is started."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from checks import require
from layers import OnnxNetwork
from layers.checkpoint.eager import Served
from layers.checkpoint.runtime import on_cuda
from layers.checkpoint.serving import HAS, has_bf16, missing

FLOAT, QUANTISED, PROGRAM = "model.onnx", "model-int8.onnx", "model.pt2"
CUDA = {"torch": ("32", "bf16"), "torch-compile": ("32", "bf16"), "onnxruntime": ("32",)}  # what runs on a GPU


class Cell(NamedTuple):
    """Where a file runs, and in which numbers."""

    runtime: str
    precision: str
    device: str = "cpu"

    def __str__(self) -> str:
        return f"{self.runtime} {self.precision}{' cuda' * (self.device == 'cuda')}"

    @property
    def file(self) -> str:
        """Return the name of the file that it runs."""
        if self.precision == "int8":
            return QUANTISED
        return PROGRAM if self.runtime.startswith("torch") else FLOAT

    def start(self, folder: Path, threads: int, channels_last: bool = False) -> nn.Module:
        """Return the network of the file in the folder, ready to answer; torch has its threads from the caller.

        channels_last: of weights and images in torch; other runtimes choose by themselves.
        """
        path = folder / self.file
        if self.runtime.startswith("torch"):
            return Program(path, self.precision, self.runtime == "torch-compile", channels_last, self.device)
        precision = "bf16" if self.precision == "bf16" else "32"
        return OnnxNetwork(path, self.runtime, threads, precision, self.device)


def cell_of(row: Mapping[str, Any]) -> Cell:
    """Return the cell in which a row was measured: times are compared within it."""
    return Cell(row["runtime"], row["precision"], row["device"])


class Program(nn.Module):
    """A program of torch.export, computed in float32 or, where the precision is bf16, under autocast."""

    def __init__(self, path: Path, precision: str, compiled: bool, channels_last: bool, device: str = "cpu") -> None:
        super().__init__()
        # autocast: a program has the dtypes of its operators written into it
        program = torch.export.load(path)
        if device != "cpu":  # constants of its operators too
            program = move_to_device_pass(program, device)
        self.served = Served(program.module(), False, channels_last, compiled)
        self.in_bf16, self.device = precision == "bf16", device

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (n, classes) in float32."""
        with torch.autocast(self.device, torch.bfloat16) if self.in_bf16 else nullcontext():
            y: Tensor = self.served(x)
        return y.float()


def cells(runtimes: Sequence[str], precisions: Sequence[str], devices: Sequence[str] = ()) -> list[Cell]:
    """List the cells to measure: what is asked for, by default all that is here; ValueError for what is not here."""
    there = torch.cuda.is_available()
    require("cuda" not in devices or there, "devices", "cuda", "cpu, where torch sees no GPU")
    for runtime in runtimes:
        absent = missing(runtime)
        require(absent is None, "runtime", runtime, f"one that is here: {absent}")
    can_bf16, devices = has_bf16(), devices or ["cpu", *["cuda"] * there]
    require(
        "bf16" not in precisions or can_bf16 or "cuda" in devices,
        "precision",
        "bf16",
        "32 or int8 on a CPU without bf16",
    )
    chosen = runtimes or [runtime for runtime in HAS if missing(runtime) is None]
    wanted = precisions or ["32", "bf16", "int8"]
    has: dict[str, Mapping[str, Sequence[str]]] = {
        "cpu": {name: [p for p in own if p != "bf16" or can_bf16] for name, own in HAS.items()},
        "cuda": CUDA,
    }
    made = [
        Cell(runtime, precision, device)
        for device in devices
        for runtime in chosen
        if device == "cpu" or runtime != "onnxruntime" or on_cuda()
        for precision in has[device].get(runtime, ())
        if precision in wanted
    ]
    pairs = "; ".join(f"{runtime} {', '.join(own)}" for runtime, own in HAS.items())
    asked = f"{', '.join(chosen)} in {', '.join(wanted)} on {', '.join(devices)}"
    require(bool(made), "runtimes and precisions", asked, f"a pair of these: {pairs}")
    return made
