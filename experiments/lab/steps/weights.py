"""`weights SHARE`: single weights set to zero, and held there."""

from dataclasses import dataclass, replace
from typing import Literal

from checks import require
from layers import refit
from layers.thinning import masks

from ..evaluation.workshop import Workshop
from ..progress import stage
from ..training.distributed import rank
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
        refit: let the weights that are left make up for them, on the calibration images.
    """

    share: float
    score: Literal["l1", "lamp"] = "l1"
    layers: Layers = "all"
    per_layer: bool = False
    gradual: bool = False
    refit: bool = False

    def __post_init__(self) -> None:
        require(0 < self.share < 1, "share of weights", self.share, "above 0 and below 1")
        require(not (self.gradual and self.refit), "refit of weights", "yes", f"left out with {WORDS}")

    @property
    def images(self) -> bool:
        """Whether it takes calibration images."""
        return self.refit

    def said(self, images: int) -> list[str]:
        """Say which share, and by which score."""
        which = f"{self.share:.0%} of the weights{' of each layer' * self.per_layer}"
        when = ", a few in each of the first epochs of what follows," * self.gradual
        fitted = [f"the others refitted on {images:,} training images"] if self.refit else []
        return [f"{which} set to zero by {self.score}{when} and held there", *fitted]

    def check(self, state: State, shop: Workshop) -> State:
        """Choose masks: of each layer's own weights where the numbers will be others, which leave every layer some."""
        two = f"left out where weights have two values, as those of layer {next(iter(state.binary), '')!r}"
        require(not (self.refit and state.binary), "refit of weights", "yes", two)
        stopping = shop.training.patience
        require(
            not self.gradual or stopping is None, "patience", stopping, f"left out with {WORDS}: it may stop too early"
        )
        fsdp = shop.training.strategy == "fsdp"
        require(not (self.gradual and fsdp), "strategy", "fsdp", f"auto or ddp with {WORDS}")
        tried = self._masked(state, per_layer=self.per_layer or state.guessed)
        return replace(tried, masks=state.masks, growing=self) if self.gradual else tried

    def apply(self, state: State, shop: Workshop) -> State:
        """Return the same network with masks, of equal weights the same ones; the first process alone refits it."""
        if self.gradual:
            return replace(state, growing=self)
        masked = self._masked(state, self.per_layer)
        if not self.refit:
            return masked
        images = shop.images(state.plain(), state.done)
        stats = images.stats  # by all processes together
        if rank():
            return state
        with stage("refit, layer", len(masked.masks)) as sign:
            model = refit(
                masked.plain(),
                state.plain(),
                images.batches,
                stats=stats,
                seed=images.seed,
                progress=sign.finish,
                masks=masked.masks,
            )
        return replace(masked, model=model)

    def callback(self, epochs: int) -> Gradual:
        """Return what sets the weights to zero in a training of so many epochs."""
        return Gradual(self.share, self.score, KINDS[self.layers], self.per_layer, epochs)

    def _masked(self, state: State, per_layer: bool) -> State:
        chosen = masks(state.plain(), self.share, self.score, KINDS[self.layers], per_layer=per_layer)
        return replace(state, masks=dict(sorted(chosen.items())))
