"""Choose one form per layer under one budget for the whole network."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor, nn

from checks import check_rank, need

from .budget import Budget
from .cost import Cost, cost, storage, trace
from .methods import Candidate, method
from .plan import LayerPlan, Plan
from .selectors import SELECTORS, Option, spend
from .surgery import obstacles

Where = Callable[[str, nn.Module], bool]  # (name, layer) -> whether it may be compressed


class Layer(NamedTuple):
    """A layer to plan: its options, dense last, and if there is no other the reason why."""

    name: str
    options: list[Option]
    reason: str


def survey(
    model: nn.Module, budget: Budget, kernels: Sequence[str], example: Tensor, where: Where, multiple: int = 1
) -> list[Layer]:
    """Every convolution and Linear that `example` reaches, with the options that are smaller in the budget's metric."""
    blocked = obstacles(model)
    layers = []
    for name, calls in trace(model, example).items():
        module = model.get_submodule(name)
        params, size = storage(module)
        before = Cost(params, sum(call.macs for call in calls) // len(example), size)
        barred = [blocked[name]] if name in blocked else [] if where(name, module) else ["excluded"]
        reasons, options = [*barred], []
        for kernel in kernels if not barred else ():
            row = method(kernel)
            if refused := row.refusal(module):
                reasons.append(refused)
                continue
            for candidate in row.candidates(module, multiple):
                params, macs, size = row.price(module, candidate.spec, calls)
                after = Cost(params, macs // len(example), size)
                if budget.of(after) < budget.of(before):
                    options.append(Option(kernel, candidate, after))
        if len(reasons) < len(kernels) and not barred:
            reasons.append(f"no form has fewer {budget.metric}")
        reason = "" if options else "; ".join(dict.fromkeys(reasons))
        layers.append(Layer(name, [*options, Option(None, Candidate({}, 1.0), before)], reason))
    return layers


def make_plan(
    model: nn.Module,
    budget: Budget,
    kernels: Sequence[str] = ("svd", "spatial"),
    selector: str = "energy",
    *,
    example: Tensor,
    where: Where = lambda name, layer: True,
    rank_multiple: int = 1,
) -> Plan:
    """Choose for each layer a kernel and its ranks, or to leave it dense, within the budget for the whole network.

    uniform  every layer keeps the same share of its own cost;
    energy   the sum over layers of |W - W_hat|^2 / |W|^2 is least on the convex hull of the options.

    example: one input batch (n, ...), read for the sizes of the feature maps only; where(name, layer): the layers that
    may be compressed; rank_multiple: ranks are multiples of it, which fast kernels like, or full.  Raises ValueError
    for an unknown kernel or selector, a kernel that cannot save the budget's metric, and a budget that no plan meets.
    """
    need(selector in SELECTORS, "selector", selector, f"one of {', '.join(SELECTORS)}")
    check_rank(rank_multiple, "rank_multiple")
    for kernel in kernels:
        saves = method(kernel).saves
        need(budget.metric in saves, f"budget for kernel {kernel}", str(budget), f"on {' or '.join(sorted(saves))}")
    layers, before = survey(model, budget, kernels, example, where, rank_multiple), cost(model, example)
    elsewhere = budget.of(before) - sum(budget.of(layer.options[-1].cost) for layer in layers)
    limit = int(budget.fraction * budget.of(before)) - elsewhere
    choice = spend(selector, [layer.options for layer in layers], budget, limit)
    rows, after = [], before
    for layer, option in zip(layers, choice):
        dense = layer.options[-1].cost
        after = after + option.cost - dense
        reason = "" if option.kernel else layer.reason or "the selector keeps it whole"
        rows.append(
            LayerPlan(layer.name, option.kernel, option.candidate.spec, dense, option.cost, option.error**0.5, reason)
        )
    return Plan(tuple(rows), budget, selector, before, after)
