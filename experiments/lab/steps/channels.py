"""`channels SHARE` or `channels macs=0.5`: whole channels taken out, and what is left fitted to the network before."""

from dataclasses import dataclass, field, replace
from typing import Literal

from torch import nn

from checks import require
from layers import cost, prune_channels, refit
from layers.network import weighted
from layers.thinning import widths_of

from ..evaluation.workshop import Workshop
from ..progress import stage
from ..training.distributed import rank
from .state import KINDS, Layers, State

WHICH = {
    "l1": "those of the least L1 norm over all that depends on them (torch-pruning)",
    "l2": "those of the least L2 norm over all that depends on them (torch-pruning)",
    "taylor": "those whose weights times gradients are the least, on average over calibration images",
    "loss": "those without which the loss is foreseen to rise the least",
}


@dataclass(frozen=True)
class Channels:
    """Takes channels out, with all that depends on them, without a gradient step.

    Args:
        share: of its channels that each layer but the last loses.
        macs: instead, the share of the network's multiply-accumulates that is left: layers lose what costs them least.
        score: which channels go.
        round: widths that are left are multiples of it where layers are wide.
        layers: which may lose outputs.
        refit: fit what is left to the outputs of the network before.
    """

    share: float | None = field(default=None, metadata={"place": True})
    macs: float | None = None
    score: Literal["l1", "l2", "taylor", "loss"] = "loss"
    round: int = 16
    layers: Layers = "all"
    refit: bool = True

    def __post_init__(self) -> None:
        given = " and ".join(f"{k}={v}" for k, v in (("share", self.share), ("macs", self.macs)) if v is not None)
        one = (self.share is None) != (self.macs is None)
        require(one, "channels", given or "neither", "a share, or macs=, as in 'channels 0.3' and 'channels macs=0.5'")
        require(self.share is None or 0 <= self.share < 1, "share of channels", self.share, "at least 0 and below 1")
        require(self.macs is None or 0 < self.macs <= 1, "macs of channels", self.macs, "above 0 and at most 1")
        require(self.round >= 1, "round of channels", self.round, "at least 1")

    @property
    def images(self) -> bool:
        """Whether it takes calibration images."""
        return self.refit or self.score in ("taylor", "loss")

    def said(self, images: int) -> list[str]:
        """Say how many, and which."""
        if self.macs is None:
            how = f"{self.share:.0%} of the channels of each layer taken out"
        else:
            how = f"channels taken out where they cost the least, until {self.macs:.0%} of the MACs are left"
        fitted = [f"what is left refitted on {images:,} training images"] if self.refit else []
        return [f"{how}, {WHICH[self.score]}", *fitted]

    def check(self, state: State, shop: Workshop) -> State:
        """Take channels out by their norm: no image is read, and what cannot lose any is refused."""
        tried = replace(self, score=self.score if self.score in ("l1", "l2") else "l2", refit=False)
        return replace(tried.apply(state, shop), guessed=state.guessed or self.images)

    def apply(self, state: State, shop: Workshop) -> State:
        """Return the thinner network, its costs and widths in the plan; the first of several processes alone does."""
        images = shop.images(state.model, state.done) if self.images else None
        stats = None if images is None else images.stats  # by all processes together
        if images is not None and rank():
            return state
        batches = None if images is None or self.score != "taylor" else [x for x, _ in images.batches]
        kinds = KINDS[self.layers]
        with stage("take out channels, layer", len(weighted(state.model, kinds))) as sign:
            thin = prune_channels(
                state.model,
                self.share,
                shop.example,
                kinds,
                macs=self.macs,
                score=self.score,
                round=self.round,
                stats=stats,
                batches=batches,
                seed=0 if images is None else images.seed,
                progress=sign.finish,
            ).model
        if self.refit and images is not None:
            with stage("refit, layer", len(weighted(thin, nn.Module))) as sign:
                thin = refit(thin, state.model, images.batches, stats=stats, seed=images.seed, progress=sign.finish)
        after = cost(thin, shop.example[:1].to(next(thin.parameters()).device))
        plan, widths = state.plan, widths_of(thin)
        if not plan.layers:
            return replace(state, model=thin, plan=replace(plan, after=after, widths=widths))
        new = {name: width for name, width in widths.items() if dict(width) != dict(plan.widths.get(name, {}))}
        return replace(state, model=thin, plan=replace(plan, after=after, narrowed=new))
