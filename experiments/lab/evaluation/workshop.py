"""What a step has to work with: the trained network, its images, how it is trained."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lightning import Callback
from torch import Tensor, nn

from ..config import Training
from ..data import Dataset
from .calibration import Calibration
from .hands import Hands


@dataclass
class Workshop:
    """The trained network and all that a step may take to make another of it.

    Args:
        dense: the trained network, which teaches those that are made of it.
        example: (n, ...) normalised images, on the CPU: as many as the largest batch whose latency counts.
        dataset: of which the test images choose nothing.
        device: where it runs.
        training: how a network is trained.
        batch_size: of a step of training.
        count: calibration images; 0 where nothing asks for them.
        trained: whether `dense` has its weights already, so that a share can be tried on them.
    """

    dense: nn.Module
    example: Tensor
    dataset: Dataset
    device: str
    training: Training
    batch_size: int
    count: int = 0
    trained: bool = False
    checkpoint: Path | None = None  # of the training under way
    callbacks: Sequence[Callback] = ()
    hands: Hands = field(default_factory=Hands)  # that judge the layers of a plan
    _seen: tuple[object, Calibration] | None = field(default=None, repr=False)

    def images(self, model: nn.Module, made_by: object) -> Calibration:
        """Draw the images that this network is calibrated with, by the run's seed.

        made_by: equal for equal networks, so that several rows that begin alike calibrate once.
        """
        if self._seen is None or self._seen[0] != made_by:
            drawn = Calibration.draw(model, self.dataset, self.count, self.training.seed, self.device)
            self._seen = made_by, drawn
        return self._seen[1]
