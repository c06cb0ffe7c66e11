"""Choose one form per layer under one budget for the whole network."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from checks import check_rank, require

from ..calibration import Stats, check_stats, observed
from ..costs import CONVS, LINEARS, Cost, Trace, storage, trace, traced_cost
from ..factored import Form
from ..network import Progress, check_numbers, ignored, obstacles
from .budget import Budget
from .by_latency import Stopwatch
from .methods import method
from .multiples import timed_forms
from .offers import Task, judge_all, plain_copy
from .plan import Plan
from .prices import Clock, Here, LatencyTable, Server, counted
from .selectors import SELECTORS
from .survey import LayerForms, Survey

Where = Callable[[str, nn.Module], bool]  # (name, layer) -> whether it may be compressed
UNREACHED = "the example does not reach it"

MIXED = ("svd", "spatial", "tucker", "ht", "cp")  # each the best of some layer where the loss is known
SIMPLE = ("svd", "spatial")


def everywhere(name: str, layer: nn.Module) -> bool:
    """Say of every layer that it may be compressed."""
    return True


@dataclass(frozen=True)
class Request:
    """What a plan is asked for: the arguments of `make_plan`, checked; ValueError for what cannot be asked for."""

    budget: Budget
    kernels: Sequence[str] = SIMPLE
    selector: str = ""  # loss where there are stats, else energy
    _: KW_ONLY
    example: Tensor
    stats: Stats | None = None
    where: Where = everywhere
    rank_multiple: int = 1
    latencies: Path | None = None
    clock: Clock | None = None
    serving: Server | None = None
    executor: Executor | None = None
    cache: Path | None = None
    progress: Progress = ignored

    def __post_init__(self) -> None:
        require(isinstance(self.budget, Budget), "budget", self.budget, "a Budget, as Budget(macs=0.5)")
        listed = isinstance(self.kernels, Sequence) and not isinstance(self.kernels, str)
        require(listed, "kernels", self.kernels, 'a list of names, as ("svd", "spatial")')
        known = self.stats is None or isinstance(self.stats, Stats)
        require(known, "stats", type(self.stats).__name__, "what calibrate(model, batches) returns")
        if not self.selector:
            object.__setattr__(self, "selector", "energy" if self.stats is None else "loss")
        pool = self.executor is None or callable(getattr(self.executor, "submit", None))
        require(pool, "executor", type(self.executor).__name__, "one with submit, as concurrent.futures has")
        require(self.selector in SELECTORS, "selector", self.selector, f"one of {', '.join(SELECTORS)}")
        calibrated = self.selector != "loss" or self.stats is not None
        require(calibrated, "stats", None, "given for selector loss: calibrate(model, batches)")
        require(
            isinstance(self.example, Tensor) and self.example.ndim > 0 and len(self.example) > 0,
            "example",
            tuple(self.example.shape) if isinstance(self.example, Tensor) else type(self.example).__name__,
            "a batch of at least one input (n, ...)",
        )
        check_rank(self.rank_multiple, "rank_multiple")
        timed = self.serving is None or self.budget.metric == "latency"
        require(timed, "serving", str(self.serving), "left out but with a latency budget, which it measures")
        check_kernels(self.kernels, self.budget, self.selector)


def check_kernels(kernels: Sequence[str], budget: Budget, selector: str) -> None:
    """Refuse a kernel that is unknown, saves nothing of what the budget counts, or has no ranks where they choose."""
    for kernel in kernels:
        row = method(kernel)
        allowed = f"on {' or '.join(sorted(row.saves))}"
        require(budget.metric in row.saves, f"budget for kernel {kernel}", str(budget), allowed)
        ranked = not SELECTORS[selector].by_ranks or row.scheme is not None
        require(ranked, f"kernel for selector {selector}", kernel, "one that has ranks")


def make_plan(
    model: nn.Module,
    budget: Budget,
    kernels: Sequence[str] | None = None,
    selector: str | None = None,
    *,
    example: Tensor,
    stats: Stats | None = None,
    where: Where = everywhere,
    rank_multiple: int = 1,
    latencies: Path | None = None,
    clock: Clock | None = None,
    serving: Server | None = None,
    executor: Executor | None = None,
    cache: Path | None = None,
    progress: Progress = ignored,
) -> Plan:
    """Choose for each layer a kernel and its ranks, or to leave it dense, within the budget for the whole network.

    Args:
        model: Any network; it is not changed.
        budget: What may be kept of it, as Budget(macs=0.5).
        kernels: Names of rows of METHODS; every layer takes one of them or stays dense.  By default svd, spatial,
            tucker, ht and cp where `stats` are given, else svd and spatial.
        selector: Name of a row of SELECTORS, which says what is minimised; by default `loss` where `stats` are given,
            else `energy`.
        example: One input batch (n, ...), read for the sizes of the feature maps, and run where a latency is measured.
        stats: What `calibrate` saw of the model; selector `loss` needs it.
        where: (name, layer) -> whether the layer may be compressed.
        rank_multiple: Ranks are multiples of it, which fast kernels like, or full.
        latencies: The file of measured times, for a latency budget; by default in the user's cache folder.
        clock: What measures a latency: seconds since some moment; by default time.perf_counter, or CUDA's events.
        serving: Where a latency is measured, as a Serving; by default in torch as the network is.
        executor: Who judges the layers, each one task: any with the `submit` of concurrent.futures, as its
            ProcessPoolExecutor; by default threads, as many as torch has.  The plan is the same.
        cache: A folder in which what was judged of a layer is kept, by the hash of all that it depends on: planning
            that was killed goes on from there.
        progress: Called with the name of each layer that has been judged.

    Returns:
        The plan: a row per layer with its kernel, spec, costs, error and, where it stays dense, the reason.

    Raises:
        ValueError: For an unknown kernel or selector, one that lacks what it needs, an empty example, stats of another
            network, a network that calls no convolution or Linear layer, and a budget that no plan meets, with the
            least that one can.

    Example:
        >>> import torch
        >>> from layers import Budget, make_plan
        >>> _ = torch.manual_seed(0)
        >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.Linear(32, 10))
        >>> plan = make_plan(model, Budget(params=0.5), ("svd",), example=torch.zeros(1, 8, 8))
        >>> [(row.name, row.kernel, row.spec) for row in plan.layers]
        [('1', 'svd', {'rank': 8}), ('2', None, {})]
    """
    if kernels is None:
        kernels = SIMPLE if stats is None else MIXED
    request = Request(
        budget,
        kernels,
        selector or "",
        example=example,
        stats=stats,
        where=where,
        rank_multiple=rank_multiple,
        latencies=latencies,
        clock=clock,
        serving=serving,
        executor=executor,
        cache=cache,
        progress=progress,
    )
    return survey_network(model, request).plan(budget)


def survey_network(model: nn.Module, request: Request) -> Survey:
    """Return what `make_plan` chooses from, for any number of plans under budgets of the request's metric."""
    if request.stats is not None:
        check_stats(request.stats, model)
    unset = [name for name, parameter in model.named_parameters() if parameter.is_meta]
    require(not unset, "model", f"{unset[:1]} on the meta device", "a network whose weights have numbers")
    example, metric = request.example.clone(), request.budget.metric  # a network may work in place on its input
    traced = trace(model, example)
    check_numbers(model)
    server = (request.serving or Here()).settled(model, example) if metric == "latency" else Here()
    layers, before = _layers(model, request, traced, server), traced_cost(model, traced)
    reached = any(layer.reason != UNREACHED for layer in layers)
    require(reached, "model", type(model).__name__, "a network that calls a convolution or Linear layer")
    if metric != "latency":
        return Survey(model, request.selector, layers, before, getattr(before, metric))
    watch = Stopwatch(model, example, server, request.clock)
    return Survey(model, request.selector, layers, before, watch.whole(), watch)


def _layers(model: nn.Module, request: Request, traced: Trace, server: Server) -> list[LayerForms]:
    """List every convolution and Linear with the forms that cost less than it, by first calls, uncalled ones last."""
    metric, images, calls = request.budget.metric, traced.images, traced.calls
    latency = metric == "latency"
    price = LatencyTable(request.latencies, request.clock, server) if latency else counted(metric)
    blocked, layers = obstacles(model), []
    uncalled = {n: () for n, m in model.named_modules() if isinstance(m, (*CONVS, *LINEARS)) and n not in calls}
    reasons: dict[str, list[str]] = {}
    tasks: list[Task] = []
    for name, own in {**calls, **uncalled}.items():
        module: Any = model.get_submodule(name)
        barred = blocked.get(name) or ("" if request.where(name, module) else "excluded")
        barred = barred or traced.kept.get(name, "") or ("" if own else UNREACHED)
        barred = barred or ("" if module.weight.numel() else "it has no weights")
        refused = {kernel: barred or _refusal(kernel, name, module, request) for kernel in request.kernels}
        reasons[name] = list(filter(None, [barred, *refused.values()]))
        if kernels := [kernel for kernel, reason in refused.items() if not reason]:
            moments = None if request.stats is None else request.stats.layers.get(name)
            settings = kernels, request.selector, request.rank_multiple
            tasks.append(Task(name, plain_copy(module), moments, *settings))
    judged = judge_all(tasks, request.executor, request.cache, request.progress)
    offered = {task.name: forms for task, forms in zip(tasks, judged)}
    for name, own in {**calls, **uncalled}.items():
        module = model.get_submodule(name)

        def costed(form: Form, module: Any = module, own: Any = own) -> Form:
            params, macs, size = method(form.kernel or "").cost(module, form.spec, own)
            return form._replace(cost=Cost(params, macs // images, size))

        params, size = storage(module)
        forms = [costed(form) for form in offered.get(name, [])]
        forms.append(Form(None, {}, Cost(params, sum(call.macs for call in own) // images, size)))
        if latency:
            *smaller, dense = timed_forms(price, module, forms, own, costed)
        else:
            *smaller, dense = (form._replace(price=price) for form, price in zip(forms, price(module, forms, own)))
        cheaper = [form for form in smaller if form.price < dense.price]
        highest = max((form.level for form in cheaper), default=float("-inf"))
        above = [form.level for form in smaller if form.level > highest]  # levels that cost more than the dense layer
        if smaller and not cheaper:
            reasons[name].append(f"no form has {'a lower' if latency else 'fewer'} {metric}")
        reason = "" if cheaper else "; ".join(dict.fromkeys(reasons[name]))
        layers.append(LayerForms(name, [*cheaper, dense._replace(level=min(above, default=float("inf")))], reason))
    return layers


def _refusal(kernel: str, name: str, layer: nn.Module, request: Request) -> str:
    """Say why a kernel is not asked for forms of a layer, or nothing."""
    return method(kernel).refusal(layer) or _unjudged(name, layer, request) or ""


def _unjudged(name: str, layer: nn.Module, request: Request) -> str | None:
    """Say why the calibration gives no judgement of a layer that a kernel could take, or None."""
    if request.stats is None or name in request.stats.layers:
        return None
    if observed(layer):
        return "no calibration image reached it"
    return f"calibrate does not observe a {type(layer).__name__}" if request.selector == "loss" else None
