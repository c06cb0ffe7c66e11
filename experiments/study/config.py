"""What a study is: one frozen dataclass, the command line of `experiments.study`, the hash that names its folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..lab.config import Network, digest, flat

Fractions = Annotated[tuple[float, ...], tyro.conf.arg(metavar="FRACTION [FRACTION ...]")]


@dataclass(frozen=True)
class Measurement:
    """what is measured"""

    fractions: Fractions = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
    """of a weight's numbers, what may be stored"""
    repeats: int = 3
    """random weights, and random channel orders, drawn for each layer"""
    least: int = 1000
    """weights of fewer numbers are skipped: 1/32 of them is less than one component of most kernels"""
    seed: int = 0
    """of the random weights and orders"""


@dataclass(frozen=True)
class Output:
    """where results go; no part of a study's name"""

    out: Path = Path("runs")
    """folder of the study folders, and of the run whose dense network is studied"""
    force: bool = False
    """repeat a study that is complete"""


@dataclass(frozen=True)
class Study:
    """Measure how well each kernel holds the trained weights of a network, against random weights and channel orders.

    Without --checkpoint: the dense network of `python -m experiments.run`, trained first if that run is not complete.
    """

    network: Network = field(default_factory=Network)
    measurement: Measurement = field(default_factory=Measurement)
    output: Output = field(default_factory=Output)

    def flat(self) -> dict[str, object]:
        """Return every field that decides the result, JSON-able."""
        return flat(self)

    @property
    def name(self) -> str:
        """Return study-model-hash."""
        return f"study-{self.network.model.replace(':', '.')}-{digest(self)}"
