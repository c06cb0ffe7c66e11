"""What a search is: one frozen dataclass, the command line of `experiments.tune`, the hash that names the study."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from ..lab.config import Data, Network, Training, digest, flat

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
class Search:
    """how it is searched"""

    pruner: Literal["median", "hyperband", "none"] = "median"
    """which trials are given up early: median (worse than half of the others after as many epochs), hyperband, none"""


@dataclass(frozen=True)
class Workers:
    """how many share the work, and where results go; no part of the study's name"""

    trials: int = 50
    """of the study in all, by all workers; more of them later continue it"""
    storage: str | None = None
    """a database that any number of machines share, postgresql://USER:PASSWORD@HOST/NAME say
    (default: study.db in the study's folder, which any number of processes here share)"""
    study_name: str | None = None
    """in the storage (default: made from the settings, so that the same command joins the same study)"""
    heartbeat: int = 60
    """seconds between two signs of life of a worker; a trial is taken up again after two of them were missed"""
    retries: int = 3
    """how often a trial whose worker died is taken up again"""
    out: Path = Path("runs")
    """folder of the study folders"""


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
    search: Search = field(default_factory=Search)
    training: Training = field(default_factory=Training)
    output: Workers = field(default_factory=Workers)

    def identity(self) -> "Tune":
        """Without what may differ between the machines that share a study."""
        data, training = replace(self.data, data_root=None), replace(self.training, accelerator="auto")
        return replace(self, data=data, training=training)

    def flat(self) -> dict[str, object]:
        """Every field that decides the result, JSON-able."""
        return flat(self.identity())

    @property
    def name(self) -> str:
        """tune-dataset-model-hash, or the name as given."""
        model = self.network.model.replace(":", ".")
        return self.output.study_name or f"tune-{self.data.dataset}-{model}-{digest(self.identity())}"
