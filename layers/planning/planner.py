"""Choose one form per layer under one budget for the whole network."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from checks import check_rank, require

from ..calibration import Stats, check_stats
from ..costs import CONVS, LINEARS, Call, Cost, latency, storage, trace, traced_cost
from ..network import obstacles
from .budget import Budget
from .by_latency import decide
from .choice import LayerForms, Survey
from .errors import thinned
from .methods import check_kernels, method
from .plan import Plan
from .prices import LatencyTable, Price, counted
from .selectors import SELECTORS, Option, Selector

Where = Callable[[str, nn.Module], bool]  # (name, layer) -> whether it may be compressed
UNREACHED = "the example does not reach it"
MEASURED = 8  # forms of a kernel whose latency is measured


class Request(NamedTuple):
    """What a plan is asked for, looked up and checked."""

    selector: Selector
    metric: str
    kernels: Sequence[str]
    price: Price
    stats: Stats | None
    where: Where
    multiple: int


def survey(model: nn.Module, request: Request, calls: Mapping[str, Sequence[Call]], images: int) -> list[LayerForms]:
    """Every convolution and Linear, with the options that cost less than it: by first calls, uncalled ones last."""
    blocked, layers = obstacles(model), []
    uncalled = {n: () for n, m in model.named_modules() if isinstance(m, (*CONVS, *LINEARS)) and n not in calls}
    for name, own in {**calls, **uncalled}.items():
        module: Any = model.get_submodule(name)
        barred = blocked.get(name) or ("" if request.where(name, module) else "excluded") or ("" if own else UNREACHED)
        forms, reasons = ([], [barred]) if barred else _forms(name, module, own, images, request)
        params, size = storage(module)
        macs = sum(call.macs for call in own) // images
        forms.append(Option(None, {}, Cost(params, macs, size), 0.0, 0.0))
        prices = request.price(module, forms, own)
        options = [form._replace(price=price) for form, price in zip(forms, prices)]
        cheaper = [option for option in options[:-1] if option.price < prices[-1]]
        if len(forms) > 1 and not cheaper:
            reasons.append(f"no form has {'a lower' if request.metric == 'latency' else 'fewer'} {request.metric}")
        layers.append(LayerForms(name, [*cheaper, options[-1]], "" if cheaper else "; ".join(dict.fromkeys(reasons))))
    return layers


def _forms(
    name: str, layer: Any, calls: Sequence[Call], images: int, request: Request
) -> tuple[list[Option], list[str]]:
    """What the kernels offer, unpriced, and why some offer nothing."""
    seen = None if request.stats is None else request.stats.layers.get(name)
    forms, reasons = [], []
    for kernel in request.kernels:
        row = method(kernel)
        refused = row.refusal(layer)
        if refused is None and request.stats is not None and seen is None:
            refused = "no calibration image reached it"
        if refused is not None:
            reasons.append(refused)
            continue
        judged = request.selector.judge(row, layer, seen, request.multiple)
        for spec, error, level in thinned(judged, MEASURED) if request.metric == "latency" else judged:
            params, macs, size = row.price(layer, spec, calls)
            forms.append(Option(kernel, spec, Cost(params, macs // images, size), 0.0, error, level))
    return forms, reasons


def make_plan(
    model: nn.Module,
    budget: Budget,
    kernels: Sequence[str] = ("svd", "spatial"),
    selector: str | None = None,
    *,
    example: Tensor,
    stats: Stats | None = None,
    where: Where = lambda name, layer: True,
    rank_multiple: int = 1,
    latencies: Path | None = None,
) -> Plan:
    """Choose for each layer a kernel and its ranks, or to leave it dense, within the budget for the whole network.

    uniform  every layer keeps the same share of its own cost;
    energy   the sum over layers of |W - W_hat|^2 / |W|^2 is least on the convex hull of the options;
    evbmf    the ranks of EVBMF (Nakajima et al. 2013), all times the largest share up to 1 that the budget allows;
    minimax  the largest |W - W_hat|_2 / |W|_2 of any layer is least (ALDS: Liebenwein et al. 2021);
    loss     the predicted rise of the loss, summed over layers, is least on the convex hull of the options; the
             default where `stats` of `calibrate` are given, which it needs; else the default is energy.

    example: one input batch (n, ...), read for the sizes of the feature maps, and run where a latency is measured;
    where(name, layer): the layers that may be compressed; rank_multiple: ranks are multiples of it, which fast kernels
    like, or full; latencies: the file of measured times (default: in the user's cache folder).  Raises ValueError for
    an unknown kernel or selector, one that lacks what it needs, stats of another network, a network that calls no
    convolution or Linear layer, and a budget that no plan meets, with the least that one can.
    """
    found = survey_network(
        model,
        budget,
        kernels,
        selector,
        example=example,
        stats=stats,
        where=where,
        rank_multiple=rank_multiple,
        latencies=latencies,
    )
    return decide(model, found, budget, example)


def survey_network(
    model: nn.Module,
    budget: Budget,
    kernels: Sequence[str] = ("svd", "spatial"),
    selector: str | None = None,
    *,
    example: Tensor,
    stats: Stats | None = None,
    where: Where = lambda name, layer: True,
    rank_multiple: int = 1,
    latencies: Path | None = None,
) -> Survey:
    """What `make_plan` chooses from, for any number of plans under budgets of the same metric; arguments as there."""
    name = selector or ("energy" if stats is None else "loss")
    require(name in SELECTORS, "selector", name, f"one of {', '.join(SELECTORS)}")
    require(name != "loss" or stats is not None, "stats", None, "given for selector loss: calibrate(model, batches)")
    check_rank(rank_multiple, "rank_multiple")
    if stats is not None:
        check_stats(stats, model)
    check_kernels(kernels, budget, name)
    price = LatencyTable(latencies) if budget.metric == "latency" else counted(budget.metric)
    request = Request(SELECTORS[name], budget.metric, kernels, price, stats, where, rank_multiple)
    calls = trace(model, example)
    layers, before = survey(model, request, calls, len(example)), traced_cost(model, calls, len(example))
    reached = any(layer.reason != UNREACHED for layer in layers)
    require(reached, "model", type(model).__name__, "a network that calls a convolution or Linear layer")
    whole = latency(model, example).median if budget.metric == "latency" else getattr(before, budget.metric)
    return Survey(name, layers, before, whole)
