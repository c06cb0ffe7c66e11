"""Rank selectors: each turns a layer's options into a staircase, and one walk up all staircases spends the budget."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from .budget import Budget
from .cost import Cost
from .methods import Candidate


class Option(NamedTuple):
    """A candidate form of a layer, with its price; kernel None is the dense layer itself."""

    kernel: str | None
    candidate: Candidate
    cost: Cost

    @property
    def error(self) -> float:
        """|W - W_hat|^2 / |W|^2."""
        return max(0.0, 1 - self.candidate.energy)


class Step(NamedTuple):
    """From this level of the selector's dial on, the layer takes this option."""

    dial: float
    option: Option


LOWEST = float("-inf")


def uniform(options: Sequence[Option], price: Callable[[Option], int]) -> list[Step]:
    """The dial is the share of its own cost that every layer keeps: the best option within it."""
    steps: list[Step] = []
    for option in sorted(options, key=price):
        if not steps or option.error < steps[-1].option.error:
            steps.append(Step(price(option) / price(options[-1]) if steps else LOWEST, option))
    return steps


def energy(options: Sequence[Option], price: Callable[[Option], int]) -> list[Step]:
    """The dial is a Lagrange multiplier: minimise the sum over layers of |W - W_hat|^2 / |W|^2 + multiplier x cost.

    What a layer then takes are the corners of the lower convex hull of (cost, error), steepest first (Everett 1963).
    """
    hull: list[Option] = []
    for option in sorted(options, key=lambda option: (price(option), option.error)):
        if hull and option.error >= hull[-1].error:
            continue
        while len(hull) > 1 and _slope(hull[-2], option, price) <= _slope(hull[-2], hull[-1], price):
            hull.pop()
        hull.append(option)
    dials = [LOWEST, *(_slope(a, b, price) for a, b in pairwise(hull))]
    return [Step(dial, option) for dial, option in zip(dials, hull)]


def _slope(a: Option, b: Option, price: Callable[[Option], int]) -> float:
    """Change of error per cost from a up to b: negative, and the more so the better the step."""
    return (b.error - a.error) / (price(b) - price(a))


SELECTORS = {"uniform": uniform, "energy": energy}


def spend(selector: str, layers: Sequence[Sequence[Option]], budget: Budget, limit: int) -> list[Option]:
    """One option per layer, together at most `limit`: all staircases are climbed at once, in the order of the dial.

    Each layer's options end with the dense one.  A step that does not fit is passed over; what is left in the end goes,
    again and again, to the one option anywhere that still fits and takes most error away.  Raises ValueError if even
    the lowest steps cost more.
    """

    def price(option: Option) -> int:
        return budget.of(option.cost)

    stairs = [SELECTORS[selector](options, price) for options in layers]
    choice = [steps[0].option for steps in stairs]
    left = limit - sum(map(price, choice))
    if left < 0:
        short = f"{-left:,} {budget.metric} less than the smallest {selector} plan"
        raise ValueError(f"budget must be within reach, got {budget}: {short}")
    climb = [(layer, step) for layer, steps in enumerate(stairs) for step in steps[1:]]
    for layer, (_, option) in sorted(climb, key=lambda item: item[1].dial):
        extra = price(option) - price(choice[layer])
        if extra <= left:
            choice[layer], left = option, left - extra
    while True:
        gains = [
            (choice[layer].error - option.error, layer, option)
            for layer, options in enumerate(layers)
            for option in options
            if price(option) - price(choice[layer]) <= left
        ]
        gain, layer, option = max(gains, key=lambda item: item[0])
        if gain <= 0:
            return choice
        left -= price(option) - price(choice[layer])
        choice[layer] = option
