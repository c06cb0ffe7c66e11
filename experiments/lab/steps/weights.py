"""`weights SHARE`: single weights set to zero, and held there."""

from dataclasses import dataclass, replace
from typing import Literal

from checks import require
from layers.thinning import masks

from ..evaluation.workshop import Workshop
from ..training.gradual import Gradual
from .state import KINDS, Layers, State

WORDS = "weights that go gradually"


@dataclass(frozen=True)
class Weights:
    """Sets this share of the weights to zero, and holds them there in what follows.

    Args:
        share: of the weights of all layers together.
        score: which: the smallest, or the smallest against the larger ones of their layer.
        layers: whose weights.
        per_layer: of the weights of each layer instead.
        gradual: not at once but over the first epochs of the fine-tuning that must come next.
    """

    share: float
    score: Literal["l1", "lamp"] = "l1"
    layers: Layers = "all"
    per_layer: bool = False
    gradual: bool = False
    images = False

    def __post_init__(self) -> None:
        require(0 < self.share < 1, "share of weights", self.share, "above 0 and below 1")

    def said(self, images: int) -> list[str]:
        """Say which share, and by which score."""
        which = f"{self.share:.0%} of the weights{' of each layer' * self.per_layer}"
        when = ", a few in each of the first epochs of what follows," * self.gradual
        return [f"{which} set to zero by {self.score}{when} and held there"]

    def check(self, state: State, shop: Workshop) -> State:
        """Choose masks: of each layer's own weights where the numbers will be others, which leave every layer some."""
        stopping = shop.training.patience
        require(
            not self.gradual or stopping is None, "patience", stopping, f"left out with {WORDS}: it may stop too early"
        )
        fsdp = shop.training.strategy == "fsdp"
        require(not (self.gradual and fsdp), "strategy", "fsdp", f"auto or ddp with {WORDS}")
        tried = self._masked(state, per_layer=self.per_layer or state.guessed)
        return replace(tried, masks=state.masks, growing=self) if self.gradual else tried

    def apply(self, state: State, shop: Workshop) -> State:
        """Return the same network with masks; of equal weights the same ones."""
        return replace(state, growing=self) if self.gradual else self._masked(state, self.per_layer)

    def callback(self, epochs: int) -> Gradual:
        """Return what sets the weights to zero in a training of so many epochs."""
        return Gradual(self.share, self.score, KINDS[self.layers], self.per_layer, epochs)

    def _masked(self, state: State, per_layer: bool) -> State:
        chosen = masks(state.plain(), self.share, self.score, KINDS[self.layers], per_layer=per_layer)
        return replace(state, masks=dict(sorted(chosen.items())))
