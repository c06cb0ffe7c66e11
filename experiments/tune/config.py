"""Describe a search for training settings: its options and the hash that names its study."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

import tyro

from ..lab.config import Data, Network, Training, flat, named
from ..lab.trials.config import Workers

Numbers = Annotated[tuple[int, ...], tyro.conf.arg(metavar="N [N ...]")]
Range = Annotated[tuple[float, float], tyro.conf.arg(metavar="LOW HIGH")]
Count = Annotated[tuple[int, int], tyro.conf.arg(metavar="LOW HIGH")]
Optimizers = Annotated[tuple[Literal["adamw", "sgd"], ...], tyro.conf.arg(metavar="NAME [NAME ...]")]
Schedules = Annotated[
    tuple[Literal["onecycle", "cosine", "step", "constant"], ...], tyro.conf.arg(metavar="NAME [NAME ...]")
]


@dataclass(frozen=True)
class Space:
    """what is searched"""

    batch_sizes: Numbers = (32, 64, 128)
    """images per training step"""
    optimizers: Optimizers = ("adamw", "sgd")
    """adamw, sgd"""
    lrs: Range = (1e-4, 1e-1)
    """peak learning rate, by its logarithm"""
    weight_decays: Range = (1e-6, 1e-2)
    """by its logarithm"""
    schedules: Schedules = ("onecycle", "cosine", "step", "constant")
    """onecycle, cosine, step, constant"""
    step_sizes: Count = (10, 30)
    """epochs between two steps of the schedule step"""
    gammas: Range = (0.1, 0.9)
    """factor of each of these steps"""
    epochs: Count = (10, 30)
    """of training"""


@dataclass(frozen=True)
class Stopping:
    """how it is searched"""

    pruner: Literal["median", "hyperband", "none"] = "median"
    """which trials are given up early: median (worse than half of the others after as many epochs), hyperband, none"""


SEARCHED = {  # field of `Space` -> the field of `Training` or `Data` that it replaces
    "batch_sizes": "batch_size",
    "optimizers": "optimizer",
    "lrs": "lr",
    "weight_decays": "weight_decay",
    "schedules": "schedule",
    "step_sizes": "step_size",
    "gammas": "gamma",
    "epochs": "max_epochs",
}


@dataclass(frozen=True)
class Tune:
    """Find training settings with the best validation accuracy; run it in several terminals, or on several machines
    with one --storage, and they share the work."""

    network: Network = field(default_factory=Network)
    data: Data = field(default_factory=Data)
    space: Space = field(default_factory=Space)
    search: Stopping = field(default_factory=Stopping)
    training: Training = field(default_factory=Training)
    output: Workers = field(default_factory=Workers)

    def identity(self) -> "Tune":
        """Drop what may differ between the machines that share a study."""
        data, training = replace(self.data, data_root=None), replace(self.training, accelerator="auto")
        return replace(self, data=data, training=training)

    def flat(self) -> dict[str, object]:
        """Return every field that decides the result, JSON-able."""
        return flat(self.identity())

    @property
    def name(self) -> str:
        """Return tune-dataset-model-hash, or the name as given."""
        return self.output.study_name or named("tune", self.identity())
