"""The options of `experiments.bench served`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

Name = Literal["resnet18", "resnet50", "vgg16", "mobilenet", "squeezenet"]
Names = Annotated[tuple[Name, ...], tyro.conf.arg(metavar="NETWORK [NETWORK ...]")]
Way = Literal["svd", "spatial", "tucker", "auto", "channels", "latency"]
Ways = Annotated[tuple[Way, ...], tyro.conf.arg(metavar="WAY [WAY ...]")]
Runtime = Literal["torch", "torch-compile", "onnxruntime", "openvino"]
Runtimes = Annotated[tuple[Runtime, ...], tyro.conf.arg(metavar="RUNTIME [RUNTIME ...]")]
Precision = Literal["32", "bf16", "int8"]
Precisions = Annotated[tuple[Precision, ...], tyro.conf.arg(metavar="PRECISION [PRECISION ...]")]


@dataclass(frozen=True)
class ServedBench:
    """Time networks of random weights, dense and compressed, in every runtime and precision that is here.

    Each cell is written as it is measured, beside the dense network in the same runtime; the same command goes on after
    a kill.
    """

    networks: Names = ("squeezenet", "mobilenet", "resnet18", "resnet50", "vgg16")
    """which, in this order"""
    ways: Ways = ("svd", "spatial", "tucker", "auto", "channels", "latency")
    """half the MACs by one kernel, mixed (auto) or by fewer channels in multiples of 16 (channels), or half the time by
    plans that are made in each runtime (latency), which take most of the bench's own time; what is named first is done
    first, for all networks"""
    runtimes: Runtimes = ("onnxruntime", "openvino", "torch", "torch-compile")
    """which, if they are installed"""
    precisions: Precisions = ("32", "bf16", "int8")
    """which, where runtime and CPU have them"""
    batch: int = 4
    """images per forward pass"""
    size: int = 224
    """pixels a side"""
    threads: int = 2
    """of every runtime"""
    fold_batchnorm: bool = True
    """in torch too; other runtimes do that by themselves"""
    seconds: float = 10.0
    """per cell, at most; three rounds are always run"""
    work: Path = Path("runs/served")
    """folder for plans and for what has been measured, cells.jsonl"""
    out: Path | None = None
    """a file for the page, Markdown; what stands below its last table stays"""
