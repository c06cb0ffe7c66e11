"""The options of `experiments.bench gpu-all`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class GpuBench:
    """Measure all that a GPU shows, in some minutes: kernels, ResNet-50 at half the MACs with and without
    torch.compile, training in bf16, and calibrating, planning and refitting a ResNet-50."""

    device: Literal["cuda", "cpu"] = "cuda"
    """cpu with small numbers below only tries out that all of it runs"""
    batch: int = 64
    """images per forward pass of ResNet-50"""
    size: int = 224
    """pixels a side of its images"""
    calibration_images: int = 512
    """noise, which takes as long as photographs"""
    steps: int = 100
    """of training ResNet-18 at 32 pixels, 128 images each"""
    seconds: float = 3.0
    """per row of the tables, at most; three rounds are always run"""
    only: str = ""
    """rows of the tables whose work contains this text"""
    out: Path | None = None
    """a file for the page, Markdown"""
