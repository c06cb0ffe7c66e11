"""The options of `experiments.bench planner`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ...lab.config import Config, Data, Network, Training


@dataclass(frozen=True)
class Accuracies:
    """how it is measured"""

    calibration_images: int = 2000
    """training images, drawn by each seed"""
    seeds: int = 3
    """of the calibration images: 0, 1, ..."""
    plans: int = 50
    """random plans whose predicted and measured rise of the loss are compared; 0 for none"""
    held_out: int = 2000
    """training images, not among those that calibrate, on which that rise is measured"""
    alone: tuple[int, ...] = ()
    """instead of all else: numbers of calibration images for which every layer is compressed alone, to 0.7 of its MACs,
    and its foreseen rise of the loss compared with the measured one"""
    foreign: Path | None = None
    """a folder of images of another kind, CLASS/FILE: also what is kept when these calibrate instead"""
    threads: int = 2
    """of torch"""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """where it runs"""
    out: Path | None = None
    """a file for the table: Markdown if it ends in .md, else CSV of every trial; the figure is OUT with .png"""


@dataclass(frozen=True)
class PlannerBench:
    """Measure top-1 on the whole test set at 0.70, 0.50, 0.35 and 0.25 of the MACs without a gradient step, before and
    after the refit; the time that takes; and how well the predicted rise of the loss ranks random plans."""

    network: Network = field(default_factory=lambda: Network("resnet20"))
    data: Data = field(default_factory=lambda: Data("folder"))
    measurement: Accuracies = field(default_factory=Accuracies)

    def run(self) -> Config:
        """Return the run of the same network and images that compresses nothing."""
        training = Training(finetune_epochs=0, accelerator=self.measurement.accelerator)
        return Config.of_trained(self.network, self.data, training)
