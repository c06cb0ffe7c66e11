"""Choose one form per layer under one budget for the whole network."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from contract import need

from .budget import Budget
from .cost import Cost, cost, storage, trace
from .methods import Candidate, method
from .plan import LayerPlan, Plan
from .surgery import obstacles


class Option(NamedTuple):
    """A candidate form of a layer, with its price; ratio is its share of the dense layer in the budget's metric."""

    kernel: str
    candidate: Candidate
    cost: Cost
    ratio: float


class Layer(NamedTuple):
    """A layer to plan: what it costs, and the options that are smaller, or the reason why there is none."""

    name: str
    before: Cost
    options: list[Option]
    reason: str = ""


Choice = list[Option | None]  # one per layer, None for dense
Rule = Callable[[Layer, float], Option | None]  # what a layer takes at a level of the selector's one dial


def _price(module: nn.Module, shapes: Sequence[torch.Size], batch: int) -> Cost:
    """Cost of a module, on the meta device, for all its calls."""
    dtype = next(module.parameters()).dtype
    calls = [call for s in shapes for call in trace(module, torch.empty(s, device="meta", dtype=dtype)).values()]
    params, size = storage(module)
    return Cost(params, sum(macs for call in calls for _, macs in call) // batch, size)


def survey(model: nn.Module, budget: Budget, kernels: Sequence[str], example: Tensor) -> list[Layer]:
    """Every Conv2d and Linear that `example` reaches, with its options."""
    blocked = obstacles(model)
    layers = []
    for name, calls in trace(model, example).items():
        module, shapes = model.get_submodule(name), [shape for shape, _ in calls]
        params, size = storage(module)
        before = Cost(params, sum(macs for _, macs in calls) // len(example), size)
        reasons = {blocked[name]: None} if name in blocked else {}
        options = []
        for kernel in kernels if name not in blocked else ():
            row = method(kernel)
            if refused := row.refusal(module):
                reasons[refused] = None
                continue
            for candidate in row.candidates(module):
                after = _price(row.shell(module, candidate.spec, "meta"), shapes, len(example))
                if (ratio := budget.of(after) / budget.of(before)) < 1:
                    options.append(Option(kernel, candidate, after, ratio))
        reason = "" if options else "; ".join(reasons) or f"no form has fewer {budget.metric}"
        layers.append(Layer(name, before, options, reason))
    return layers


def _same_share(layer: Layer, share: float) -> Option | None:
    """The most energy within this share of the layer's cost; the smallest option where nothing fits."""
    if share >= 1 or not layer.options:
        return None
    fitting = [option for option in layer.options if option.ratio <= share]
    if not fitting:
        return min(layer.options, key=lambda option: option.ratio)
    return max(fitting, key=lambda option: option.candidate.energy)


def _same_energy(layer: Layer, energy: float) -> Option | None:
    """The cheapest option that keeps this part of |W|^2; dense where none does."""
    enough = [option for option in layer.options if option.candidate.energy >= energy]
    return min(enough, key=lambda option: option.ratio, default=None)


SELECTORS: dict[str, tuple[Rule, Callable[[Option], float]]] = {
    "uniform": (_same_share, lambda option: option.ratio),
    "energy": (_same_energy, lambda option: option.candidate.energy),
}


def _select(selector: str, layers: Sequence[Layer], spare: Callable[[Choice], int], budget: Budget) -> Choice:
    """The highest level of the selector's dial whose choice fits: cost never falls as the dial rises."""
    rule, level = SELECTORS[selector]

    def choose(dial: float) -> Choice:
        return [rule(layer, dial) for layer in layers]

    dials = [*sorted({level(option) for layer in layers for option in layer.options}), float("inf")]
    fits = bisect_right(dials, 0, key=lambda dial: -min(spare(choose(dial)), 0))
    if not fits:
        smallest = choose(dials[0])
        message = (
            f"budget {budget} cannot be met: the smallest {selector} plan is {-spare(smallest):,} {budget.metric} over"
        )
        raise ValueError(message)
    return choose(dials[fits - 1])


def make_plan(
    model: nn.Module,
    budget: Budget,
    kernels: Sequence[str] = ("svd", "spatial"),
    selector: str = "energy",
    *,
    example: Tensor,
) -> Plan:
    """Choose for each layer a kernel and its ranks, or to leave it dense, within the budget for the whole network.

    uniform  every layer keeps the same share of its own cost.
    energy   every layer keeps the same share of its weight's |W|^2.

    example: one input batch (n, ...), for the sizes of the feature maps only.  Raises ValueError for an unknown kernel
    or selector, a kernel that cannot save the budget's metric, and a budget that no plan meets.
    """
    need(selector in SELECTORS, "selector", selector, f"one of {', '.join(SELECTORS)}")
    for kernel in kernels:
        saves = method(kernel).saves
        need(budget.metric in saves, f"budget for kernel {kernel}", str(budget), f"on {' or '.join(sorted(saves))}")
    layers, before = survey(model, budget, kernels, example), cost(model, example)

    def total(choice: Choice) -> Cost:
        return sum((o.cost - layer.before for o, layer in zip(choice, layers) if o is not None), start=before)

    limit = budget.fraction * budget.of(before)
    choice = _select(selector, layers, lambda choice: int(limit - budget.of(total(choice)) // 1), budget)
    rows = []
    for layer, o in zip(layers, choice):
        if o is None:
            reason = layer.reason or "the selector keeps it whole"
            rows.append(LayerPlan(layer.name, None, {}, layer.before, layer.before, 0.0, reason))
        else:
            error = max(0.0, 1 - o.candidate.energy) ** 0.5
            rows.append(LayerPlan(layer.name, o.kernel, o.candidate.spec, layer.before, o.cost, error))
    return Plan(tuple(rows), budget, selector, before, total(choice))
