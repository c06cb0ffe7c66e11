"""A kernel's name, or `auto`: layers become factors or coefficients, as a plan chooses within a budget."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor, nn

from checks import require
from layers import Budget, Plan, Serving, Stats, compress, interleaved, refit
from layers.network import copy_of, evaluating
from layers.planning import MIXED, SELECTORS, Here, Request, Survey, carry_out, check_kernels, method, survey_network

from ..evaluation.calibration import Calibration
from ..evaluation.hands import Hands
from ..evaluation.workshop import Workshop
from ..progress import stage
from ..training.distributed import rank
from .state import KINDS, Layers, State

AUTO, PLANNED = "auto", "planned"
ALONE = Hands()  # this process, and nothing kept
FACTORS = "one that makes factors, not coefficients"


@dataclass(frozen=True)
class Kernel:
    """Chooses kernels and ranks within a budget and carries that out, from calibration images, without a gradient.

    Args:
        kernel: of METHODS, or AUTO; PLANNED where `given` says all.
        macs: the fraction of this cost to keep; of the four at most one is given, by default half the MACs, or half the
            parameters for a kernel that leaves the MACs as they are.
        params: see macs.
        bytes: see macs.
        latency: see macs.
        selector: how ranks are chosen.
        layers: which may be compressed.
        refit: fit the factors to the outputs of the network before; by default with selector loss.
        runtime: in which a latency is measured, torch as it is if nothing is said of it.
        precision: of the numbers there.
        threads: of it; by default as many as torch has.
        fold_batchnorm: measure torch with BatchNorm folded.
        of: what AUTO chooses from.
        given: to be carried out as it is.
    """

    kernel: str
    macs: float | None = None
    params: float | None = None
    bytes: float | None = None
    latency: float | None = None
    selector: str = "loss"
    layers: Layers = "all"
    refit: bool | None = None
    runtime: Literal["torch", "torch-compile", "onnxruntime", "openvino"] = "torch"
    precision: Literal["32", "bf16", "int8"] = "32"
    threads: int | None = None
    fold_batchnorm: bool = False
    of: Sequence[str] = field(default=MIXED, metadata={"hidden": True})
    given: Plan | None = field(default=None, metadata={"hidden": True})

    def __post_init__(self) -> None:
        rows, planned = [method(name) for name in self.kernels], self.given is not None
        require(planned or self.selector in SELECTORS, "selector", self.selector, f"one of {', '.join(SELECTORS)}")
        check_kernels(self.kernels, self.budget, "energy" if planned else self.selector)
        if self.elsewhere:
            require(
                self.budget.metric == "latency", "budget with a runtime", str(self.budget), "a latency, as latency=0.5"
            )
            self._serving([torch.zeros(1)])  # for what it refuses
        require(not self.refit or all(row.scheme for row in rows), "kernel to refit", self.kernel, FACTORS)

    @classmethod
    def within(
        cls,
        budget: Budget | None,
        kernel: str = AUTO,
        selector: str = "loss",
        layers: Layers = "all",
        refit: bool | None = None,
        of: Sequence[str] = MIXED,
        given: Plan | None = None,
    ) -> "Kernel":
        """Make the step of a budget; None is its default."""
        macs, params, size, latency = (None,) * 4 if budget is None else astuple(budget)
        return cls(kernel, macs, params, size, latency, selector, layers, refit, of=of, given=given)

    @classmethod
    def of_plan(cls, plan: Plan, path: str, wanted: bool | None) -> "Kernel":
        """Make the step that carries out a plan that is given."""
        kernels = tuple(dict.fromkeys(row.kernel for row in plan.layers if row.kernel is not None))
        require(bool(kernels), "plan", path, "one that compresses a layer at least")
        return cls.within(plan.budget, PLANNED, plan.selector, refit=wanted, of=kernels, given=plan)

    @property
    def kernels(self) -> tuple[str, ...]:
        """Return what it may make of a layer."""
        return tuple(self.of) if self.kernel in (AUTO, PLANNED) else (self.kernel,)

    @property
    def budget(self) -> Budget:
        """Return what is kept."""
        given = {name: getattr(self, name) for name in ("macs", "params", "bytes", "latency")}
        if any(value is not None for value in given.values()):
            return Budget(**given)
        return Budget(macs=0.5) if all("macs" in method(name).saves for name in self.kernels) else Budget(params=0.5)

    @property
    def factors(self) -> bool:
        """Whether its kernels make factors, which alone can be refitted, pruned and quantised."""
        return all(method(name).scheme is not None for name in self.kernels)

    @property
    def refits(self) -> bool:
        """Whether its factors are refitted."""
        usual = self.selector == "loss" or (self.given is not None and self.selector == "search")
        return self.factors and (usual if self.refit is None else self.refit)

    @property
    def elsewhere(self) -> bool:
        """Whether a latency is measured in another way than networks run here."""
        return (self.runtime, self.precision, self.threads, self.fold_batchnorm) != ("torch", "32", None, False)

    def _serving(self, images: Sequence[object]) -> Serving:
        return Serving(self.runtime, self.precision, self.threads, self.fold_batchnorm, images)

    def serving(self, images: Calibration | None, example: Tensor) -> Serving | None:
        """Return where a latency is measured; None for torch as it is.

        images: for the scales of int8, on which times do not depend; where a plan is only tried, before any are drawn,
        the example's stand in for them.
        """
        return self._serving([example] if images is None else images.batches) if self.elsewhere else None

    @property
    def images(self) -> bool:
        """Whether it takes calibration images: their moments, or what they are in a network of 8 bits."""
        return self.moments or self.precision == "int8"

    @property
    def moments(self) -> bool:
        """Whether it takes the moments of calibration images."""
        return self.refits or self.selector == "loss"

    def said(self, images: int) -> list[str]:
        """Say how kernels and ranks were chosen."""
        parts = [f"selector {self.selector}"]
        if len(self.kernels) > 1:
            parts.append(f"of kernels {', '.join(self.kernels)}")
        if self.moments:
            parts.append(f"calibrated with {images:,} training images")
        if self.refits:
            parts.append("factors refitted on them")
        if self.elsewhere:
            parts.append(f"latency measured in {self._serving([torch.zeros(1)])}")
        return parts

    def survey(
        self,
        model: nn.Module,
        example: Tensor,
        stats: Stats | None,
        hands: Hands = ALONE,
        images: Calibration | None = None,
    ) -> Survey:
        """Collect what there is to choose from, layer by layer."""
        layers = sum(isinstance(module, KINDS[self.layers]) for module in model.modules())
        # all of the example counts for a latency, one image for other costs
        batch = (example if self.budget.metric == "latency" else example[:1]).to(next(model.parameters()).device)
        with hands.at_work(model) as executor, stage("plan, layer", layers) as sign:
            request = Request(
                self.budget,
                self.kernels,
                self.selector,
                example=batch,
                stats=stats if self.moments else None,
                where=lambda _, module: isinstance(module, KINDS[self.layers]),
                serving=self.serving(images, batch),
                executor=executor,
                cache=hands.cache,
                progress=sign.finish,
            )
            return survey_network(model, request)

    def plan(
        self,
        model: nn.Module,
        example: Tensor,
        stats: Stats | None,
        hands: Hands = ALONE,
        images: Calibration | None = None,
    ) -> Plan:
        """Choose kernels and ranks within the budget, unless the plan is given."""
        return self.survey(model, example, stats, hands, images).plan(self.budget) if self.given is None else self.given

    def build(self, model: nn.Module, plan: Plan, images: Calibration | None) -> nn.Module:
        """Make the network as planned, refitted as the step says."""
        stats = images.stats if images is not None and self.moments else None
        layers = sum(row.kernel is not None for row in plan.layers)
        with stage("compress, layer", layers) as sign:
            small = compress(model, plan, stats=stats, progress=sign.finish)
        if images is None or not self.refits:
            return small
        with stage("refit, layer", layers) as sign:
            return refit(small, model, images.batches, stats=stats, seed=images.seed, progress=sign.finish)

    def check(self, state: State, shop: Workshop) -> State:
        """Refuse a budget out of reach, and the plan of another network; return the layers that a plan makes.

        A plan by loss takes minutes for a large network: its forms, and so what it can reach, are those of energy.
        """
        if self.given is None:
            judge = "energy" if self.selector == "loss" else self.selector
            survey = replace(self, selector=judge, refit=None).survey(state.model, shop.example, None)
            plan = survey._replace(selector=self.selector).plan(self.budget)
        else:
            plan = self.given
            _check_plan(plan, state, shop)
        with torch.random.fork_rng():
            model = carry_out(copy_of(state.model), plan, lambda _, row, layer, spec: row.shell(layer, spec))
        return replace(state, model=model, plan=from_dense(plan, state, shop), guessed=True)

    def choose(self, state: State, shop: Workshop) -> Plan | None:
        """Plan, costs before being those of the dense network; all processes calibrate, the first one alone plans."""
        images = shop.images(state.model, state.done) if self.images else None
        stats = images.stats if images is not None and self.moments else None
        if rank() > 0:
            return None
        plan = self.plan(state.model, shop.example, stats, shop.hands, images)
        return from_dense(plan, state, shop, self.serving(images, shop.example))

    def apply(self, state: State, shop: Workshop) -> State:
        """Plan and build; the first of several processes alone returns a network."""
        plan = self.choose(state, shop)
        if plan is None:
            return state
        images = shop.images(state.model, state.done) if self.images else None
        return replace(state, model=self.build(state.model, plan, images), plan=plan)


def _check_plan(plan: Plan, state: State, shop: Workshop) -> None:
    """Refuse the plan of another network, or of this one at other widths or for other images."""
    before = state.plan.before
    same = f"of this network for images of {'x'.join(map(str, shop.example.shape[1:]))}, which costs {before}"
    require(plan.before == before, "plan", f"one of {plan.before}", same)
    fits = _plain(plan) == _plain(state.plan)
    require(fits, "plan", "one at other widths", "made with the same --prune-channels as is given here")


def _plain(plan: Plan) -> dict[str, dict[str, int]]:
    return {name: dict(new) for name, new in plan.widths.items()}


def from_dense(plan: Plan, state: State, shop: Workshop, serving: Serving | None = None) -> Plan:
    """Return the plan of a thinner network, its costs before those of the dense one; seconds of where it is served."""
    if not state.plan.widths or plan.widths:
        return plan
    dense, thin = shop.dense, state.model
    images = shop.example.to(next(dense.parameters()).device)
    whole = replace(plan, before=state.plan.before, widths=state.plan.widths)
    if plan.seconds is None:
        return whole
    there = Here() if serving is None else serving.settled(dense, images)
    with evaluating(dense), evaluating(thin), there.running():  # side by side: machines drift
        times = interleaved({"dense": there.network(dense, images), "thin": there.network(thin, images)})
    before = plan.seconds.before * times["dense"].median / times["thin"].median
    return replace(whole, seconds=plan.seconds._replace(before=before))


def predicted(plan: Plan) -> float | None:
    """Return the rise of the loss that the plan foresees; None where its selector foresees none."""
    return sum(row.error for row in plan.layers) if plan.selector == "loss" else None
