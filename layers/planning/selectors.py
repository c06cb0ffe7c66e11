"""Rank selectors: each turns a layer's forms into steps, and one walk up the steps of all layers spends the budget."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

from ..factored import Form
from .errors import Judge, energy_levels, evbmf_levels, operator_error, predicted_loss, weight_error


class Step(NamedTuple):
    """From this threshold on, the layer takes this form."""

    threshold: float
    form: Form


LOWEST = float("-inf")


def _front(forms: Sequence[Form]) -> list[Form]:
    """Keep the forms that nothing as cheap beats, cheapest first."""
    front: list[Form] = []
    for form in sorted(forms, key=lambda form: (form.price, form.error)):
        if not front or form.error < front[-1].error:
            front.append(form)
    return front


def by_share(forms: Sequence[Form]) -> list[Step]:
    """Step by the share of its own cost that a layer keeps: at each, the form of least error."""
    front, dense = _front(forms), forms[-1].price
    return [Step(form.price / dense if number else LOWEST, form) for number, form in enumerate(front)]


def by_slope(forms: Sequence[Form]) -> list[Step]:
    """Step by a Lagrange multiplier: minimise the sum over layers of error + multiplier x price.

    What a layer then takes are the corners of the lower convex hull of (price, error), steepest first (Everett 1963).
    """
    hull: list[Form] = []
    for form in _front(forms):
        while len(hull) > 1 and _slope(hull[-2], form) <= _slope(hull[-2], hull[-1]):
            hull.pop()
        hull.append(form)
    thresholds = [LOWEST, *(_slope(a, b) for a, b in pairwise(hull))]
    return [Step(threshold, form) for threshold, form in zip(thresholds, hull)]


def by_worst(forms: Sequence[Form]) -> list[Step]:
    """Step by the largest error of any layer, falling: at each, the cheapest form that errs no more."""
    front = _front(forms)
    return [Step(LOWEST if not number else -front[number - 1].error, form) for number, form in enumerate(front)]


def by_level(forms: Sequence[Form]) -> list[Step]:
    """Step by the level that a form carries, never to the dense layer unless there is no other form."""
    steps: list[Step] = []
    for form in sorted(forms[:-1] or forms, key=lambda form: (form.level, form.price)):
        if not steps or form.level > steps[-1].threshold:
            steps.append(Step(form.level, form))
    return [Step(LOWEST, steps[0].form), *steps[1:]]


def by_level_to_dense(forms: Sequence[Form]) -> list[Step]:
    """Step by the level that a form carries, up to the dense layer's own."""
    return by_level([*forms, forms[-1]])


def _slope(a: Form, b: Form) -> float:
    """Change of error per price from a up to b: negative, and the more so the better the step."""
    return (b.error - a.error) / (b.price - a.price)


class Selector(NamedTuple):
    """A rule that spends a budget: a row of `SELECTORS`, which `make_plan` takes by its name.

    For a new one write a judge (errors.py), say by which steps a layer climbs, and give it a row.

    Example:
        >>> from layers import SELECTORS
        >>> SELECTORS["uniform"].description
        'every layer keeps the same share of its own cost'
    """

    description: str  # for help and docs
    judge: Judge  # gives each form its error or level
    steps: Callable[[Sequence[Form]], list[Step]]
    fills: bool = True  # the budget to the last; False: the last step may leave some of it
    squared: bool = False  # errors are squares of what a plan shows
    by_ranks: bool = False  # works on ranks alone, which coded layers have not


SELECTORS = {
    "uniform": Selector("every layer keeps the same share of its own cost", weight_error, by_share, squared=True),
    "energy": Selector(
        "the sum over layers of |W - W_hat|^2 / |W|^2 is least, on the convex hull of the forms",
        weight_error,
        by_slope,
        squared=True,
    ),
    "threshold": Selector(
        "every layer keeps the least ranks that reach the same share of the energy |W|^2 in each matricisation, "
        "the largest share that the budget allows",
        energy_levels,
        by_level_to_dense,
        fills=False,
        squared=True,
        by_ranks=True,
    ),
    "evbmf": Selector(
        "the ranks of EVBMF (Nakajima et al. 2013), all times the largest share up to 1 that the budget allows",
        evbmf_levels,
        by_level,
        fills=False,
        squared=True,
        by_ranks=True,
    ),
    "minimax": Selector(
        "the largest |W - W_hat|_2 / |W|_2 of any layer is least (ALDS: Liebenwein et al. 2021)",
        operator_error,
        by_worst,
    ),
    "loss": Selector(
        "the predicted rise of the loss, summed over layers, is least, on the convex hull of the forms; needs "
        "calibration images",
        predicted_loss,
        by_slope,
    ),
}


def spend(selector: Selector, layers: Sequence[Sequence[Form]], limit: float) -> list[Form]:
    """Choose one form per layer, together at most `limit`: all layers climb their steps at once, by rising threshold.

    Each layer's forms end with the dense one.  A step that does not fit is passed over; what is left in the end goes,
    again and again, to the one form anywhere that still fits and takes most error away.  Raises TooSmall, a ValueError,
    if even the lowest steps cost more, with their price.
    """
    steps_of = [selector.steps(forms) for forms in layers]
    choice = [steps[0].form for steps in steps_of]
    left = limit - sum(form.price for form in choice)
    if left < 0:
        raise TooSmall(sum(form.price for form in choice))
    climb = [(layer, step) for layer, steps in enumerate(steps_of) for step in steps[1:]]
    for layer, (_, form) in sorted(climb, key=lambda item: item[1].threshold):
        extra = form.price - choice[layer].price
        if extra <= left:
            choice[layer], left = form, left - extra
    while selector.fills:
        gains = [
            (choice[layer].error - form.error, layer, form)
            for layer, forms in enumerate(layers)
            for form in forms
            if form.price - choice[layer].price <= left
        ]
        gain, layer, form = max(gains, key=lambda item: item[0])
        if gain <= 0:
            break
        left -= form.price - choice[layer].price
        choice[layer] = form
    return choice


class TooSmall(ValueError):
    """No choice is as cheap as the limit; `least` is what the cheapest costs."""

    def __init__(self, least: float) -> None:
        super().__init__(f"the limit must be at least {least:g}")
        self.least = least
