"""What a sweep is: one frozen dataclass, the command line of `experiments.sweep`, the hash that names its folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..lab.config import Config, Data, KernelNames, Network, Training, flat, named

Fractions = Annotated[tuple[float, ...], tyro.conf.arg(metavar="FRACTION [FRACTION ...]")]
Selectors = Annotated[tuple[str, ...], tyro.conf.arg(metavar="SELECTOR [SELECTOR ...]")]


@dataclass(frozen=True)
class Curves:
    """what is compared: every kernel with the first selector, and every selector with the first kernel"""

    kernel: KernelNames = ("auto", "svd", "spatial", "tucker", "ht", "cp")
    """as for experiments.run"""
    selector: Selectors = ("loss", "energy", "uniform", "evbmf", "minimax")
    """as for experiments.run"""
    metric: Literal["macs", "params", "bytes"] = "macs"
    """what the budgets limit"""
    fractions: Fractions = (0.25, 0.35, 0.5, 0.6, 0.7, 0.85)
    """of it to keep, a point of each curve"""
    layers: Literal["all", "conv", "linear"] = "all"
    """which layers may be compressed"""
    calibration_images: int | None = None
    """training images, drawn by seed and not augmented
    (unset: 2000, or 512 of more than 64 pixels; or all there are)"""
    refit: bool = True
    """fit every layer's factors to what the dense layer puts out, by least squares on the calibration images"""
    seed: int = 0
    """of the split and of the calibration images"""
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    """where it runs"""


@dataclass(frozen=True)
class Output:
    """where results go; no part of a sweep's name"""

    out: Path = Path("runs")
    """folder of the sweep folders"""
    force: bool = False
    """measure points again that are measured"""


@dataclass(frozen=True)
class Sweep:
    """Draw accuracy against cost for each kernel and selector, without a gradient step, next to published points.

    The network must be trained.  Points that are measured are kept: a sweep that was killed goes on.
    """

    network: Network = field(default_factory=Network)
    data: Data = field(default_factory=Data)
    curves: Curves = field(default_factory=Curves)
    output: Output = field(default_factory=Output)

    def run(self) -> Config:
        """Return the run of the same network and images that compresses nothing."""
        training = Training(seed=self.curves.seed, accelerator=self.curves.accelerator, finetune_epochs=0)
        return Config.of_trained(self.network, self.data, training)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Return (kernel, selector) of each curve, the common one first."""
        kernels, selectors = self.curves.kernel, self.curves.selector
        pairs = [(kernel, selectors[0]) for kernel in kernels] + [(kernels[0], selector) for selector in selectors]
        return list(dict.fromkeys(pairs))

    @property
    def name(self) -> str:
        """Return sweep-dataset-model-hash."""
        return named("sweep", self)

    def flat(self) -> dict[str, object]:
        """Return every field that decides the result, JSON-able."""
        return flat(self)
