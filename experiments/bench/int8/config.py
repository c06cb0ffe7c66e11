"""The options of `experiments.bench int8`."""

from dataclasses import dataclass, field
from pathlib import Path

from ...lab.config import Batches, Config, Data, KernelNames, Network, Training


@dataclass(frozen=True)
class Int8Options:
    """how it is measured"""

    methods: tuple[str, ...] = ("minmax", "entropy", "percentile", "mse", "nncf")
    """how the scales of activations are found: minmax, entropy, percentile by onnxruntime; mse, nncf"""
    nearest: bool = False
    """round each weight to the nearest, instead of so that errors make up for another"""
    kernel: KernelNames = ()
    """also the network compressed by these, mixed by layer under the budget, refitted on the calibration images"""
    budget: str = "macs=0.5"
    """of the compressed network"""
    calibration_images: int = 2000
    """training images, drawn by the seed"""
    halves: bool = False
    """calibrate on every other test image, and measure on the rest: for images without a training split"""
    batches: Batches = (1, 64)
    """images per forward pass that is timed"""
    rounds: int = 15
    """of the timing"""
    seed: int = 0
    """of the calibration images"""
    threads: int = 1
    """of the runtimes and of torch"""
    out: Path | None = None
    """a file for the table: Markdown if it ends in .md, else CSV"""


@dataclass(frozen=True)
class Int8Bench:
    """Quantise a trained network to 8-bit integers by each method; accuracy, agreement with the float32 network, bytes
    and speed beside the same .onnx in float32, in each runtime that is installed."""

    network: Network = field(default_factory=lambda: Network("resnet20"))
    data: Data = field(default_factory=lambda: Data("folder"))
    measurement: Int8Options = field(default_factory=Int8Options)

    def run(self) -> Config:
        """Return the run of the same network and images that compresses nothing."""
        return Config.of_trained(self.network, self.data, Training(finetune_epochs=0, accelerator="cpu"))
