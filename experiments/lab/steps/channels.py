"""`channels SHARE`: whole channels taken out of every layer."""

from dataclasses import dataclass, replace

from checks import require
from layers import cost, prune_channels
from layers.thinning import widths_of

from ..evaluation.workshop import Workshop
from .state import KINDS, Layers, State


@dataclass(frozen=True)
class Channels:
    """Takes this share of its channels out of each layer but the last, with all that depends on them."""

    share: float
    layers: Layers = "all"
    images = False

    def __post_init__(self) -> None:
        require(0 <= self.share < 1, "share of channels", self.share, "at least 0 and below 1")

    def said(self, images: int) -> list[str]:
        """Say which share."""
        which = "those of the least L2 norm over all that depends on them (torch-pruning)"
        return [f"{self.share:.0%} of the channels of each layer taken out, {which}"]

    def check(self, state: State, shop: Workshop) -> State:
        """Do it: it takes no image, and a network that cannot lose channels is refused whatever its numbers."""
        return self.apply(state, shop)

    def apply(self, state: State, shop: Workshop) -> State:
        """Return the thinner network, its costs and widths in the plan."""
        thin = prune_channels(state.model, self.share, shop.example, KINDS[self.layers], round=1).model
        after = cost(thin, shop.example[:1].to(next(thin.parameters()).device))
        return replace(state, model=thin, plan=replace(state.plan, after=after, widths=widths_of(thin)))
