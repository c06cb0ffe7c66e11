"""Which outputs of its layers a network still has: what compares it with the dense network, output by output."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from checks import require

from .coupled import ROOTS, Coupled

LEFT = "outputs_left_of_layers"  # the attribute of a network in which they are kept; copies have it as well


def note_lost(small: nn.Module, model: nn.Module, gone: Mapping[Coupled, Sequence[int]]) -> None:
    """Note on `small`, in place, the outputs that its layers have kept of those of `model`, without these units.

    What is noted are the numbers of the outputs in the first dense network, however often it was made thinner.
    """
    left = dict(vars(model).get(LEFT, {}))
    for coupled, units in gone.items():
        for name, written in coupled.written.items():
            if isinstance(model.get_submodule(name), ROOTS):
                numbers = left.get(name, range(sum(map(len, written))))
                taken = {place for unit in units for place in written[unit]}
                left[name] = tuple(number for place, number in enumerate(numbers) if place not in taken)
    if left:
        setattr(small, LEFT, left)


def outputs_left(small: nn.Module, model: nn.Module) -> dict[str, Tensor]:
    """The places (n,), among the outputs of a layer of `model`, of those that `small` has, by layer that lost some.

    Raises ValueError where `small` was not made thinner from `model`.
    """
    had, has = (vars(network).get(LEFT, {}) for network in (model, small))
    places = {}
    for name, numbers in has.items():
        weight = getattr(dict(model.named_modules()).get(name), "weight", None)
        before = had.get(name, range(len(weight)) if isinstance(weight, Tensor) else ())
        if tuple(before) == numbers:
            continue
        place = {number: at for at, number in enumerate(before)}
        known = all(number in place for number in numbers)
        require(known, "small", f"other outputs of layer {name!r}", "what prune_channels made of this model")
        places[name] = torch.tensor([place[number] for number in numbers])
    return places
