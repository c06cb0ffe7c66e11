"""`weights SHARE`: single weights set to zero, and held there."""

from dataclasses import dataclass, replace
from typing import Literal

from checks import require
from layers import refit
from layers.network import weighted
from layers.thinning import gradual, masks

from ..evaluation.workshop import Workshop
from ..progress import stage
from ..training.distributed import rank
from ..training.gradual import Gradual
from .state import KINDS, Layers, State

WORDS = "weights that go gradually"
# In which weights go before a refit of the others each.  Of ResNet-20 with 0.7 of them zero four leave a divergence
# from the dense answers of 0.039, on images that were not fitted, and one 0.057; with 0.9 five leave 0.36, one 0.63.
ROUNDS = 4


@dataclass(frozen=True)
class Weights:
    """Sets this share of the weights to zero, and holds them there in what follows.

    Args:
        share: of the weights of all layers together.
        score: which: the smallest, or the smallest against the larger ones of their layer.
        layers: whose weights.
        per_layer: of the weights of each layer instead.
        gradual: not at once but over the first epochs of the fine-tuning that must come next.
        refit: in rounds, and let those that are left make up for them each time, on the calibration images.
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
        fitted = (
            [f"in {ROUNDS} rounds, the others refitted on {images:,} training images after each"] if self.refit else []
        )
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
        tried = self._masked(state, self.share, self.per_layer or state.guessed)
        return replace(tried, masks=state.masks, growing=self) if self.gradual else tried

    def apply(self, state: State, shop: Workshop) -> State:
        """Return the same network with masks, of equal weights the same ones; the first process alone refits it."""
        if self.gradual:
            return replace(state, growing=self)
        if not self.refit:
            return self._masked(state, self.share, self.per_layer)
        dense = state.plain()
        images = shop.images(dense, state.done)
        stats = images.stats  # by all processes together
        if rank():
            return state
        with stage("refit, layer", ROUNDS * len(weighted(dense, KINDS[self.layers]))) as sign:
            for number in range(ROUNDS):
                state = self._masked(state, gradual(number, ROUNDS, self.share), self.per_layer)
                model = refit(
                    state.plain(),
                    dense,
                    images.batches,
                    stats=stats,
                    seed=images.seed,
                    progress=sign.finish,
                    masks=state.masks,
                )
                state = replace(state, model=model)
        return state

    def callback(self, epochs: int) -> Gradual:
        """Return what sets the weights to zero in a training of so many epochs."""
        return Gradual(self.share, self.score, KINDS[self.layers], self.per_layer, epochs)

    def _masked(self, state: State, share: float, per_layer: bool) -> State:
        """Return the state with masks that have grown: what was zero before stays so, in other layers too."""
        chosen = masks(state.plain(), share, self.score, KINDS[self.layers], per_layer=per_layer)
        grown = {
            name: keep * state.masks[name].to(keep) if name in state.masks else keep for name, keep in chosen.items()
        }
        return replace(state, masks=dict(sorted({**state.masks, **grown}.items())))
