"""`weights SHARE`: single weights set to zero, and held there."""

from dataclasses import dataclass, replace
from typing import Literal

from checks import require
from layers.thinning import masks

from ..evaluation.workshop import Workshop
from .state import KINDS, Layers, State


@dataclass(frozen=True)
class Weights:
    """Sets this share of the weights of all layers together to zero, and holds them there in what follows."""

    share: float
    score: Literal["l1", "lamp"] = "l1"
    layers: Layers = "all"
    images = False

    def __post_init__(self) -> None:
        require(0 < self.share < 1, "share of weights", self.share, "above 0 and below 1")

    def said(self, images: int) -> list[str]:
        """Say which share, and by which score."""
        return [f"{self.share:.0%} of the weights set to zero by {self.score} and held there"]

    def check(self, state: State, shop: Workshop) -> State:
        """Choose masks: of each layer's own weights where the numbers will be others, which leave every layer some."""
        return self._masked(state, per_layer=state.guessed)

    def apply(self, state: State, shop: Workshop) -> State:
        """Return the same network with masks; of equal weights the same ones."""
        return self._masked(state, per_layer=False)

    def _masked(self, state: State, per_layer: bool) -> State:
        chosen = masks(state.plain(), self.share, self.score, KINDS[self.layers], per_layer=per_layer)
        return replace(state, masks=dict(sorted(chosen.items())))
