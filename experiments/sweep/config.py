"""What a sweep is: one frozen dataclass, the command line of `experiments.sweep`, the hash that names its folder."""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from checks import require

from ..lab.config import (
    Compression,
    Config,
    Data,
    KernelNames,
    Measurement,
    Network,
    StepLists,
    Training,
    flat,
    named,
)

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
    compress: StepLists = ()
    """instead of kernels and selectors: lists of steps as for experiments.run, braces for several values,
    'spatial macs={0.4,0.6}, channels {0.2,0.4}, finetune 3, half'; each list is a point, shared among workers"""
    layers: Literal["all", "conv", "linear"] = "all"
    """which layers may be compressed"""
    calibration_images: int | None = None
    """training images, drawn by seed and not augmented
    (unset: 2000, or 512 of more than 64 pixels; or all there are)"""
    refit: bool = True
    """fit every layer's factors to what the dense layer puts out, by least squares on the calibration images"""


@dataclass(frozen=True)
class Output:
    """where results go; no part of a sweep's name"""

    out: Path = Path("runs")
    """folder of the sweep folders"""
    force: bool = False
    """measure points again that are measured; not those of --compress"""
    storage: str | None = None
    """for --compress: a database that any number of machines share, postgresql://USER:PASSWORD@HOST/NAME say
    (unset: study.db in the sweep's folder)"""
    study_name: str | None = None
    """in the storage (unset: made from the settings)"""
    heartbeat: int = 60
    """seconds between two signs of life of a worker"""
    retries: int = 3
    """how often a point whose worker died is taken up again"""


@dataclass(frozen=True)
class Sweep:
    """Draw accuracy against cost for each kernel and selector, without a gradient step, next to published points.

    With --compress: of each list of steps, at equal stored bytes and at equal latency.  The network must be trained.
    Points that are measured are kept: a sweep that was killed goes on.
    """

    network: Network = field(default_factory=Network)
    data: Data = field(default_factory=Data)
    curves: Curves = field(default_factory=Curves)
    training: Training = field(default_factory=Training)
    measurement: Measurement = field(default_factory=Measurement)
    output: Output = field(default_factory=Output)

    def run(self, lists: tuple[str, ...] = ()) -> Config:
        """Return the run of the same network and images with these lists of steps; of none it compresses nothing."""
        images = self.curves.calibration_images if lists else None
        steps = Compression((), compress=lists, calibration_images=images)
        training = replace(self.training, finetune_epochs=None if lists else 0)
        return Config(self.network, self.data, steps, training, self.measurement)

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """Return (kernel, selector) of each curve, the common one first."""
        kernels, selectors = self.curves.kernel, self.curves.selector
        pairs = [(kernel, selectors[0]) for kernel in kernels] + [(kernels[0], selector) for selector in selectors]
        return list(dict.fromkeys(pairs))

    @property
    def name(self) -> str:
        """Return sweep-dataset-model-hash, or the name of the study as given."""
        return self.output.study_name or named("sweep", self._shared())

    def _shared(self) -> "Sweep":
        """Drop what may differ between the machines that share a study."""
        if not self.curves.compress:
            return self
        return replace(
            self, data=replace(self.data, data_root=None), training=replace(self.training, accelerator="auto")
        )

    def flat(self) -> dict[str, object]:
        """Return every field that decides the result, JSON-able."""
        return flat(self._shared())


def check_options(sweep: Sweep) -> None:
    """Refuse options that would change nothing: those of training and sharing without --compress, curves with it."""
    lists, usual = bool(sweep.curves.compress), Sweep()
    alone = {"curves": ("kernel", "selector", "metric", "fractions", "layers", "refit"), "output": ("force",)}
    shared = {
        "training": tuple(f.name for f in fields(Training) if f.name not in ("seed", "accelerator")),
        "measurement": ("latency_batches",),
        "output": ("storage", "study_name"),
    }
    for group, names in (alone if lists else shared).items():
        for name in names:
            value, default = (getattr(getattr(of, group), name) for of in (sweep, usual))
            why = "left out with --compress, whose steps say it" if lists else "left out without --compress"
            require(value == default, name.replace("_", " "), value, why)
    for name in ("max_epochs", "finetune_epochs"):
        value = getattr(sweep.training, name)
        require(value is None, name.replace("_", " "), value, "left out: the network is trained, and steps have epochs")
