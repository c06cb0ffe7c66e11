"""What `experiments.deploy` is asked for."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..lab.config import Batches

Name = Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
NetworkNames = Annotated[tuple[str, ...], tyro.conf.arg(metavar="NETWORK [NETWORK ...]")]
Runtimes = Annotated[
    tuple[Literal["torch", "torch-compile", "onnxruntime", "openvino"], ...],
    tyro.conf.arg(metavar="RUNTIME [RUNTIME ...]"),
]
Devices = Annotated[tuple[Literal["cpu", "cuda"], ...], tyro.conf.arg(metavar="DEVICE [DEVICE ...]")]
Precisions = Annotated[tuple[Literal["32", "bf16", "int8"], ...], tyro.conf.arg(metavar="PRECISION [PRECISION ...]")]


@dataclass(frozen=True)
class Deploy:
    """Write each network of a run for other runtimes, run the files there, and hold them against the run's promises."""

    run: Name
    """a complete run's folder, or its name in the folder of --runs"""
    runs: Path = Path("runs")
    """folder of the run folders"""
    networks: NetworkNames = ()
    """which networks beside dense (unset: all)"""
    runtimes: Runtimes = ()
    """torch, torch-compile, onnxruntime, openvino (unset: all that are installed, torch-compile only where a C++
    compiler is)"""
    precisions: Precisions = ()
    """32, bf16, int8 (unset: all that a runtime and this CPU have)"""
    devices: Devices = ()
    """cpu, cuda (unset: the CPU, and a GPU where torch sees one)"""
    batches: Batches = (1, 8, 64)
    """images at once, for latency"""
    threads: int = 1
    """of every runtime"""
    fold_batchnorm: bool = False
    """multiply BatchNorm into the layers before it in the programs for torch; other runtimes do that by themselves"""
    tolerance: float = 1.0
    """points of top-1 that a file may lose against what the run measured; more is a broken promise"""
    out: Path | None = None
    """folder for the files (unset: deploy/ in the run's folder)"""
