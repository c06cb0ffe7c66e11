"""`half` and `bf16`: sixteen bits a number."""

from dataclasses import dataclass, replace
from typing import ClassVar

from layers.network import copy_of, evaluating

from ..evaluation.workshop import Workshop
from .state import FORMS, State


class SixteenBits:
    """Computes and stores in 16 bits, in the form of FORMS that a step names."""

    images = False
    form: ClassVar[str]

    def said(self, images: int) -> list[str]:
        """Say in which."""
        return [f"computed and stored in {self._dtype()}"]

    def check(self, state: State, shop: Workshop) -> State:
        """Run it once: not every network can."""
        tried = self.apply(state, shop)
        try:
            network = tried.network()
            with evaluating(network):
                network(shop.example[:1].to(next(network.parameters()).device))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"network for {self.form} must run in {self._dtype()} here, got {reason}") from None
        return tried

    def apply(self, state: State, shop: Workshop) -> State:
        """Round the numbers; nothing is held any longer, since nothing is trained after this."""
        model = copy_of(state.plain()).to(FORMS[self.form]).float()
        return replace(state, model=model, masks={}, binary=(), form=self.form)

    def _dtype(self) -> str:
        return str(FORMS[self.form]).removeprefix("torch.")


@dataclass(frozen=True)
class Half(SixteenBits):
    """Computes and stores in float16."""

    form = "half"


@dataclass(frozen=True)
class Bf16(SixteenBits):
    """Computes and stores in bfloat16: the range of float32 with 8 bits of precision."""

    form = "bf16"
