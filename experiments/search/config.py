"""What a search is: one frozen dataclass, the command line of `experiments.search`, the hash that names its study."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..lab.config import Config, Data, KernelNames, Network, Training, flat, named
from ..lab.trials.config import Workers

Budgets = Annotated[tuple[str, ...], tyro.conf.arg(metavar="METRIC=FRACTION [METRIC=FRACTION ...]")]


@dataclass(frozen=True)
class Searched:
    """what is searched"""

    budget: Budgets = ("macs=0.5",)
    """what to keep of the dense network: macs=, params= or bytes=; several of one metric are searched in turn,
    each with so many --trials"""
    kernel: KernelNames = ("auto",)
    """of which each layer takes the best: svd, spatial, tucker, ht, cp; auto means all of them"""
    layers: Literal["all", "conv", "linear"] = "all"
    """which layers may be compressed"""
    residual: float = 0.0
    """standard deviation, at first, of a weight's logarithm that each layer has of its own; 0: the policy is of
    sensitivity, size and kernel alone"""


@dataclass(frozen=True)
class Trials:
    """what a trial does with a plan"""

    epochs: int = 3
    """of fine-tuning in a trial, 0 to 3"""
    refit: bool = True
    """fit every layer's factors to what the dense layer puts out, by least squares on the calibration images"""
    calibration_images: int | None = None
    """training images, drawn by seed and not augmented
    (unset: 2000, or 512 of more than 64 pixels; or all there are)"""
    validation_images: int | None = None
    """of those that validate, drawn by seed (unset: all); no test image is looked at before the search is over"""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """which trials are given up early, where there are epochs: median (worse than half of the others after as many
    epochs), hyperband, none"""


@dataclass(frozen=True)
class Search:
    """Look for a better plan than selector `loss` makes, within the same budget; run it in several terminals, or on
    several machines with one --storage, and they share the work.

    The network must be trained.  A policy weighs the layers' predicted losses by sensitivity, size and kernel;
    the first trial is the plan of selector `loss`, and each trial improves the policy for those after it.
    """

    network: Network = field(default_factory=Network)
    data: Data = field(default_factory=Data)
    policy: Searched = field(default_factory=Searched)
    trials: Trials = field(default_factory=Trials)
    training: Training = field(default_factory=Training)
    output: Workers = field(default_factory=lambda: Workers(trials=100))

    def run(self) -> Config:
        """Return a run of the same network and images that compresses nothing itself."""
        training = replace(self.training, finetune_epochs=self.trials.epochs)
        return Config.of_trained(self.network, self.data, training)

    def identity(self, weights: str) -> "Search":
        """Drop what may differ between the machines that share a study; weights: the hash of the network's."""
        network = replace(self.network, checkpoint=Path(weights))
        data, training = replace(self.data, data_root=None), replace(self.training, accelerator="auto")
        return replace(self, network=network, data=data, training=training)

    def flat(self, weights: str) -> dict[str, object]:
        """Return every field that decides the result, JSON-able."""
        return flat(self.identity(weights))

    def name(self, weights: str) -> str:
        """Return search-dataset-model-hash, or the name as given."""
        return self.output.study_name or named("search", self.identity(weights))
