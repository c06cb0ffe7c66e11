"""Rank selectors: each turns a layer's options into a staircase, and one walk up all staircases spends the budget."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from ..costs import Cost
from ..factored import Spec
from .errors import Judge, evbmf_levels, operator_error, predicted_loss, weight_error


class Option(NamedTuple):
    """A form of a layer; kernel None is the dense layer itself.  `price` is what the budget counts."""

    kernel: str | None
    spec: Spec
    cost: Cost
    price: float
    error: float  # what the selector minimises
    level: float = 1.0


class Step(NamedTuple):
    """From this level of the selector's dial on, the layer takes this option."""

    dial: float
    option: Option


LOWEST = float("-inf")


def _front(options: Sequence[Option]) -> list[Option]:
    """Those that nothing as cheap beats, cheapest first."""
    front: list[Option] = []
    for option in sorted(options, key=lambda option: (option.price, option.error)):
        if not front or option.error < front[-1].error:
            front.append(option)
    return front


def by_share(options: Sequence[Option]) -> list[Step]:
    """The dial is the share of its own cost that every layer keeps: the best option within it."""
    front, dense = _front(options), options[-1].price
    return [Step(option.price / dense if number else LOWEST, option) for number, option in enumerate(front)]


def by_slope(options: Sequence[Option]) -> list[Step]:
    """The dial is a Lagrange multiplier: minimise the sum over layers of error + multiplier x price.

    What a layer then takes are the corners of the lower convex hull of (price, error), steepest first (Everett 1963).
    """
    hull: list[Option] = []
    for option in _front(options):
        while len(hull) > 1 and _slope(hull[-2], option) <= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(option)
    dials = [LOWEST, *(_slope(a, b) for a, b in pairwise(hull))]
    return [Step(dial, option) for dial, option in zip(dials, hull)]


def by_worst(options: Sequence[Option]) -> list[Step]:
    """The dial is the largest error of any layer, falling: the cheapest option that errs no more."""
    front = _front(options)
    return [Step(LOWEST if not number else -front[number - 1].error, option) for number, option in enumerate(front)]


def by_level(options: Sequence[Option]) -> list[Step]:
    """The dial is the level, which an option carries; a layer with none to choose from stays dense."""
    steps: list[Step] = []
    for option in sorted(options[:-1] or options, key=lambda option: (option.level, option.price)):
        if not steps or option.level > steps[-1].dial:
            steps.append(Step(option.level, option))
    return [Step(LOWEST, steps[0].option), *steps[1:]]


def _slope(a: Option, b: Option) -> float:
    """Change of error per price from a up to b: negative, and the more so the better the step."""
    return (b.error - a.error) / (b.price - a.price)


class Selector(NamedTuple):
    """What is minimised, how the dial turns, and what may be done with what the last turn leaves over."""

    judge: Judge
    stairs: Callable[[Sequence[Option]], list[Step]]
    fills: bool = True  # the budget to the last; False: the dial's top may leave some of it
    squared: bool = False  # errors are squares of what a plan shows


SELECTORS = {
    "uniform": Selector(weight_error, by_share, squared=True),
    "energy": Selector(weight_error, by_slope, squared=True),
    "evbmf": Selector(evbmf_levels, by_level, fills=False, squared=True),
    "minimax": Selector(operator_error, by_worst),
    "loss": Selector(predicted_loss, by_slope),
}


def spend(selector: Selector, layers: Sequence[Sequence[Option]], limit: float) -> list[Option]:
    """One option per layer, together at most `limit`: all staircases are climbed at once, in the order of the dial.

    Each layer's options end with the dense one.  A step that does not fit is passed over; what is left in the end goes,
    again and again, to the one option anywhere that still fits and takes most error away.  Raises ValueError if even
    the lowest steps cost more, with their price.
    """
    stairs = [selector.stairs(options) for options in layers]
    choice = [steps[0].option for steps in stairs]
    left = limit - sum(option.price for option in choice)
    if left < 0:
        raise TooSmall(sum(option.price for option in choice))
    climb = [(layer, step) for layer, steps in enumerate(stairs) for step in steps[1:]]
    for layer, (_, option) in sorted(climb, key=lambda item: item[1].dial):
        extra = option.price - choice[layer].price
        if extra <= left:
            choice[layer], left = option, left - extra
    while selector.fills:
        gains = [
            (choice[layer].error - option.error, layer, option)
            for layer, options in enumerate(layers)
            for option in options
            if option.price - choice[layer].price <= left
        ]
        gain, layer, option = max(gains, key=lambda item: item[0])
        if gain <= 0:
            break
        left -= option.price - choice[layer].price
        choice[layer] = option
    return choice


class TooSmall(ValueError):
    """No choice is as cheap as the limit; `least` is what the cheapest costs."""

    def __init__(self, least: float) -> None:
        super().__init__(f"the limit must be at least {least:g}")
        self.least = least
