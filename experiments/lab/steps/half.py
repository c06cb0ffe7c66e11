"""`half` and `bf16`: sixteen bits a number."""

from dataclasses import dataclass, replace

from layers.network import copy_of, evaluating

from ..evaluation.workshop import Workshop
from .state import FORMS, State


@dataclass(frozen=True)
class Half:
    """Computes and stores in float16."""

    images = False

    def said(self, images: int) -> list[str]:
        """Say so."""
        return ["computed and stored in float16"]

    def check(self, state: State, shop: Workshop) -> State:
        """Run it once: not every network can."""
        return _tried(state, shop, "half", "float16")

    def apply(self, state: State, shop: Workshop) -> State:
        """Return the network with numbers of this form."""
        return _rounded(state, "half")


@dataclass(frozen=True)
class Bf16:
    """Computes and stores in bfloat16: the range of float32 with 8 bits of precision."""

    images = False

    def said(self, images: int) -> list[str]:
        """Say so."""
        return ["computed and stored in bfloat16"]

    def check(self, state: State, shop: Workshop) -> State:
        """Run it once: not every network can."""
        return _tried(state, shop, "bf16", "bfloat16")

    def apply(self, state: State, shop: Workshop) -> State:
        """Return the network with numbers of this form."""
        return _rounded(state, "bf16")


def _rounded(state: State, form: str) -> State:
    """Round the numbers; nothing is held any longer, since nothing is trained after this."""
    model = copy_of(state.plain()).to(FORMS[form]).float()
    return replace(state, model=model, masks={}, binary=(), form=form)


def _tried(state: State, shop: Workshop, form: str, numbers: str) -> State:
    tried = _rounded(state, form)
    try:
        network = tried.network()
        with evaluating(network):
            network(shop.example[:1].to(next(network.parameters()).device))
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"network for {form} must run in {numbers} here, got {reason}") from None
    return tried
