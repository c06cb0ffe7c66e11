"""`bits N`: weights on a uniform grid, which are stored as whole numbers of N bits and compressed."""

from dataclasses import dataclass, replace
from typing import Literal

from checks import require
from layers import on_grid
from layers.network import check_untied, network_bytes, weighted
from layers.thinning import largest

from ..evaluation.workshop import Workshop
from ..progress import stage
from ..training.distributed import rank
from .state import KINDS, Layers, State


@dataclass(frozen=True)
class Bits:
    """Rounds the weights to whole numbers of so many bits, times a step.

    Args:
        width: bits of a weight, 2 to 8; with bytes at most so many.
        bytes: the fraction of the dense network's file to keep: each layer then has the step that pays best for it.
        rounding: loss, by the moments of the calibration images, or nearest, each weight for itself.
        layers: which are rounded.
    """

    width: int
    bytes: float | None = None
    rounding: Literal["loss", "nearest"] = "loss"
    layers: Layers = "all"

    def __post_init__(self) -> None:
        largest(self.width)
        require(self.bytes is None or 0 < self.bytes <= 1, "bytes of bits", self.bytes, "above 0 and at most 1")
        fits = self.bytes is None or self.rounding == "loss"
        require(fits, "rounding of bits", self.rounding, "loss, where bytes are given")

    @property
    def images(self) -> bool:
        """Whether it takes the moments of calibration images."""
        return self.rounding == "loss"

    def said(self, images: int) -> list[str]:
        """Say to how many bits, and how they were chosen."""
        how = f", by the moments of {images:,} training images" if self.images else " to the nearest"
        if self.bytes is None:
            return [f"weights rounded to {self.width} bits, a step for each filter{how}"]
        return [f"weights rounded to {self.bytes:.0%} of the dense network's bytes, a step for each layer{how}"]

    def check(self, state: State, shop: Workshop) -> State:
        """Refuse a network without such layers, or with tied ones."""
        layers = weighted(state.model, KINDS[self.layers])
        require(
            bool(layers), f"network for bits layers={self.layers}", type(state.model).__name__, "one with such layers"
        )
        check_untied(state.model, layers, "round")
        return replace(state, masks={}, form="bits")

    def apply(self, state: State, shop: Workshop) -> State:
        """Return the rounded network; nothing is held any longer, since nothing is trained after this."""
        plain = state.plain()
        stats = shop.images(plain, (state.done, "plain")).stats if self.images else None
        if rank() > 0:  # all processes calibrate, the first one does the rest
            return state
        most = None if self.bytes is None else int(self.bytes * len(network_bytes(shop.dense)))
        kinds = KINDS[self.layers]
        with stage("round, layer", len(weighted(plain, kinds))) as sign:
            model = on_grid(plain, self.width, stats, most, kinds, progress=sign.finish)
        return replace(state, model=model, masks={}, form="bits")
