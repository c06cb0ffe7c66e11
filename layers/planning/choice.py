"""From what every layer offers to one plan within the budget, as often as one likes."""

import math
from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from ..costs import Cost
from .budget import Budget
from .errors import relative_error
from .methods import method
from .plan import LayerPlan, Plan, Seconds
from .selectors import SELECTORS, Option, TooSmall, spend

Weight = Callable[[str, str], float]  # (name of a layer, kernel) -> what its error is multiplied by, above 0


class LayerForms(NamedTuple):
    """A layer to plan: its options, dense last, and if there is no other the reason why."""

    name: str
    options: list[Option]
    reason: str


class Survey(NamedTuple):
    """What a network offers: every layer's options, priced and judged."""

    selector: str
    layers: list[LayerForms]
    before: Cost
    whole: float  # the network's cost, in the unit of the prices


def choose(model: nn.Module, survey: Survey, budget: Budget, weight: Weight = lambda layer, kernel: 1.0) -> Plan:
    """The plan of a survey of the model under a budget of the metric that it was made for.

    weight: of each error in the sum that the selector minimises; the plan reports the errors without it.  Raises
    ValueError for a budget that no plan meets, with the least that one can.
    """
    selector, whole = SELECTORS[survey.selector], survey.whole
    elsewhere = whole - sum(layer.options[-1].price for layer in survey.layers)
    weighted = [[_weighted(option, layer.name, weight) for option in layer.options] for layer in survey.layers]
    try:
        choice = spend(selector, weighted, budget.fraction * whole - elsewhere)
    except TooSmall as small:
        least = math.ceil(1e4 * (small.least + elsewhere) / whole) / 1e4
        reach = f"within reach of {survey.selector}, at least {budget.metric}={least:g}"
        raise ValueError(f"budget must be {reach}, got {budget}") from None
    timed = budget.metric == "latency"
    rows, after, spent = [], survey.before, elsewhere
    for layer, options, chosen in zip(survey.layers, weighted, choice):
        option, dense = layer.options[options.index(chosen)], layer.options[-1].cost
        after, spent = after + option.cost - dense, spent + option.price
        reason = "" if option.kernel else layer.reason or "the selector keeps it whole"
        error = option.error**0.5 if selector.squared else option.error
        if option.kernel and math.isnan(error):
            error = relative_error(method(option.kernel), model.get_submodule(layer.name), option.spec)  # type: ignore[arg-type]
        seconds = Seconds(layer.options[-1].price, option.price) if timed else None
        rows.append(LayerPlan(layer.name, option.kernel, option.spec, dense, option.cost, error, reason, seconds))
    return Plan(tuple(rows), budget, survey.selector, survey.before, after, Seconds(whole, spent) if timed else None)


def _weighted(option: Option, layer: str, weight: Weight) -> Option:
    return option if option.kernel is None else option._replace(error=weight(layer, option.kernel) * option.error)
