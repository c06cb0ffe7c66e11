"""`binary`: weights of two values per filter."""

from dataclasses import dataclass, replace

from layers.network import copy_of, weighted
from layers.thinning import binarise

from ..evaluation.workshop import Workshop
from .state import KINDS, Layers, State


@dataclass(frozen=True)
class Binary:
    """Gives the weights two values per filter, and trains them like that in what follows (BinaryConnect)."""

    layers: Layers = "all"
    images = False

    def said(self, images: int) -> list[str]:
        """Say so."""
        return ["weights of two values per filter, also while fine-tuning"]

    def check(self, state: State, shop: Workshop) -> State:
        """Do it: it takes no time."""
        return self.apply(state, shop)

    def apply(self, state: State, shop: Workshop) -> State:
        """Return the same weights, held to two values; what was zero stays zero."""
        kinds = KINDS[self.layers]
        binarise(copy_of(state.model), kinds)  # refuses what has no such layers, or tied ones
        return replace(state, binary=tuple(weighted(state.model, kinds)))
