"""The cells of the table: a runtime and a precision, the file it runs, and how it is started."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from checks import require
from layers import OnnxNetwork
from layers.checkpoint.eager import Served
from layers.checkpoint.serving import HAS, has_bf16, missing

FLOAT, QUANTISED, PROGRAM = "model.onnx", "model-int8.onnx", "model.pt2"


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

    def start(self, folder: Path, threads: int, channels_last: bool = False) -> nn.Module:
        """Return the network of the file in the folder, ready to answer; torch has its threads from the caller.

        channels_last: of weights and images in torch; other runtimes choose by themselves.
        """
        path = folder / self.file
        if self.runtime.startswith("torch"):
            return Program(path, self.precision, self.runtime == "torch-compile", channels_last)
        precision = "bf16" if self.precision == "bf16" else "32"
        return OnnxNetwork(path, self.runtime, threads, precision)


class Program(nn.Module):
    """A program of torch.export, computed in float32 or, where the precision is bf16, under autocast."""

    def __init__(self, path: Path, precision: str, compiled: bool, channels_last: bool) -> None:
        super().__init__()
        # autocast: a program has the dtypes of its operators written into it
        self.served = Served(torch.export.load(path).module(), False, channels_last, compiled)
        self.in_bf16 = precision == "bf16"

    def forward(self, x: Tensor) -> Tensor:
        """Return the scores (n, classes) in float32."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.in_bf16):
            y: Tensor = self.served(x)
        return y.float()


def cells(runtimes: Sequence[str], precisions: Sequence[str]) -> list[Cell]:
    """List the cells to measure: what is asked for, by default all that is here; ValueError for what is not here."""
    for runtime in runtimes:
        absent = missing(runtime)
        require(absent is None, "runtime", runtime, f"one that is here: {absent}")
    can_bf16 = has_bf16()
    require("bf16" not in precisions or can_bf16, "precision", "bf16", "32 or int8 on a CPU without bf16")
    chosen = runtimes or [runtime for runtime in HAS if missing(runtime) is None]
    wanted = precisions or ["32", *["bf16"] * can_bf16, "int8"]
    made = [Cell(runtime, precision) for runtime in chosen for precision in HAS[runtime] if precision in wanted]
    pairs = "; ".join(f"{runtime} {', '.join(has)}" for runtime, has in HAS.items())
    asked = f"{', '.join(chosen)} in {', '.join(wanted)}"
    require(bool(made), "runtimes and precisions", asked, f"a pair of these: {pairs}")
    return made
