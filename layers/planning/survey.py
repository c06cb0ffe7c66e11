"""Choose one form per layer within a budget; one survey serves many budgets."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from torch import nn

from ..costs import Cost
from ..factored import Form
from ..network import obstacles
from .budget import Budget
from .by_latency import OutOfReach, Stopwatch, nearest
from .errors import relative_error
from .methods import method
from .plan import LayerPlan, Plan, Seconds, shape_of
from .selectors import SELECTORS, TooSmall, spend

Weight = Callable[[str, str], float]  # (name of a layer, kernel) -> what its error is multiplied by, above 0


class LayerForms(NamedTuple):
    """A layer to plan: its forms, dense last, and, where the dense one is the only form, the reason."""

    name: str
    forms: list[Form]
    reason: str


class Survey(NamedTuple):
    """What a network offers: every layer's forms, priced and judged, for any number of plans."""

    model: nn.Module
    selector: str
    layers: list[LayerForms]
    before: Cost
    whole: float  # the network's cost, in the unit of the prices
    watch: Stopwatch | None = None  # what measures a latency

    def plan(self, budget: Budget, weight: Weight = lambda layer, kernel: 1.0) -> Plan:
        """Choose a form for every layer under a budget of the metric that the survey was made for.

        A latency is chosen by the table of the layers' seconds and held to the clock.  weight: of each error in the
        sum that the selector minimises; the plan reports the errors without it.  Raises ValueError for a budget that no
        plan meets, with the least that one can, and where none does by the clock, with the least that was measured.
        """
        choose = partial(self._choose, weight=weight)
        return choose(budget) if self.watch is None else nearest(budget, choose, self.watch)

    def _choose(self, budget: Budget, weight: Weight) -> Plan:
        """Spend the budget by the forms' prices alone."""
        selector, whole = SELECTORS[self.selector], self.whole
        elsewhere = whole - sum(layer.forms[-1].price for layer in self.layers)
        weighted = [[_weighted(form, layer.name, weight) for form in layer.forms] for layer in self.layers]
        try:
            choice = spend(selector, weighted, budget.fraction * whole - elsewhere)
        except TooSmall as small:
            least = math.ceil(1e4 * (small.least + elsewhere) / whole) / 1e4
            reach = f"within reach of selector {self.selector}, at least {budget.metric}={least:g}{self._blocked()}"
            raise OutOfReach(f"budget must be {reach}, got {budget}", least) from None
        timed = budget.metric == "latency"
        rows, after, spent = [], self.before, elsewhere
        for layer, forms, chosen in zip(self.layers, weighted, choice):
            form, dense = layer.forms[forms.index(chosen)], layer.forms[-1]
            after, spent = after + form.cost - dense.cost, spent + form.price
            reason = "" if form.kernel else layer.reason or "the selector keeps it whole"
            error = form.error**0.5 if selector.squared else form.error
            if form.kernel and math.isnan(error):
                error = relative_error(method(form.kernel), self.model.get_submodule(layer.name), form.spec)  # type: ignore[arg-type]
            pair = Seconds(dense.price, form.price) if timed else None
            shape = shape_of(self.model.get_submodule(layer.name))
            costs = dense.cost, form.cost
            rows.append(LayerPlan(layer.name, form.kernel, form.spec, *costs, error, reason, pair, shape))
        return Plan(tuple(rows), budget, self.selector, self.before, after, Seconds(whole, spent) if timed else None)

    def _blocked(self) -> str:
        """Say which layers no plan could touch, in words for the end of a refusal; empty where there are none."""
        reasons = obstacles(self.model)
        blocked = [layer.name for layer in self.layers if layer.name in reasons]
        others = f" and {len(blocked) - 1} more" if len(blocked) > 1 else ""
        return f" (layer {blocked[0]!r}{others} must stay dense: {reasons[blocked[0]]})" if blocked else ""


def _weighted(form: Form, layer: str, weight: Weight) -> Form:
    return form if form.kernel is None else form._replace(error=weight(layer, form.kernel) * form.error)
