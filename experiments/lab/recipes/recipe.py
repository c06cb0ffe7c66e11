"""From the dense network to one row of the table: a plan, factors; no gradient step."""

from dataclasses import replace
from typing import NamedTuple

from torch import Tensor, nn

from checks import require
from layers import Budget, Plan, Stats, Thin, compress, cost, interleaved, prune_channels, reestimate_batchnorm, refit
from layers.network import evaluating
from layers.planning import SELECTORS, Request, Survey, check_kernels, method, survey_network

from ..config import Compression
from ..progress import stage, tracked
from .calibration import Calibration
from .treatment import KINDS, Treatment

AUTO = "auto"
MIXED = ("svd", "spatial", "tucker", "ht", "cp")  # what `auto` chooses from, layer by layer
FACTORS = "one that makes factors, not coefficients"


class Recipe(NamedTuple):
    """A recipe says how one network of a comparison is made of the dense one."""

    kernels: tuple[str, ...]
    budget: Budget
    selector: str
    refit: bool
    reestimate: bool = False  # BatchNorm statistics
    layers: str = "all"
    treatment: Treatment = Treatment()
    channels: float | None = None  # the fraction that is taken out of each layer, before all else
    given: Plan | None = None  # to be carried out as it is

    @property
    def goal(self) -> str:
        """Return what its kernels keep; empty where there are none."""
        return str(self.budget) if self.kernels else ""

    @property
    def factors(self) -> bool:
        """Whether its kernels make factors, which alone can be refitted."""
        return all(method(name).scheme is not None for name in self.kernels)

    @property
    def calibrated(self) -> bool:
        """Whether it takes the moments of calibration images."""
        return self.refit or self.selector == "loss"

    @property
    def wants_images(self) -> bool:
        """Whether it takes calibration images at all."""
        return self.calibrated or self.reestimate

    def words(self, images: int) -> str:
        """Say how it was done, for a report."""
        parts = [] if self.kernels or self.channels is not None else ["every layer as in the dense network"]
        if self.channels is not None:
            which = "those of the least L2 norm over all that depends on them (torch-pruning)"
            parts.append(f"{self.channels:.0%} of the channels of each layer taken out, {which}")
        if self.kernels:
            parts.append(f"selector {self.selector}")
        if len(self.kernels) > 1:
            parts.append(f"of kernels {', '.join(self.kernels)}")
        if self.calibrated:
            parts.append(f"calibrated with {images:,} training images")
        if self.refit:
            parts.append("factors refitted on them")
        if self.reestimate:
            parts.append(f"BatchNorm statistics measured anew on {images:,} training images")
        return "; ".join([*parts, *self.treatment.words()])

    def plan(self, model: nn.Module, example: Tensor, stats: Stats | None) -> Plan:
        """Choose kernels and ranks within the budget, unless the plan is given."""
        if self.given is not None:
            return self.given
        if not self.kernels:
            dense = cost(model, example[:1].to(next(model.parameters()).device))
            return Plan((), self.budget, self.selector, dense, dense)
        return self.survey(model, example, stats).plan(self.budget)

    def _batch(self, model: nn.Module, example: Tensor) -> Tensor:
        """Return the images whose cost counts: all of the example for a latency, one image for other costs."""
        batch = example if self.budget.metric == "latency" else example[:1]
        return batch.to(next(model.parameters()).device)

    def survey(self, model: nn.Module, example: Tensor, stats: Stats | None) -> Survey:
        """Collect what there is to choose from, layer by layer."""
        layers = sum(isinstance(module, nn.Conv2d | nn.Linear) for module in model.modules())
        with stage("plan, layer", layers) as sign:

            def where(_: str, module: nn.Module) -> bool:
                sign.advance()  # each layer is asked for in its turn
                return isinstance(module, KINDS[self.layers])

            request = Request(
                self.budget,
                self.kernels,
                self.selector,
                example=self._batch(model, example),
                stats=stats if self.calibrated else None,
                where=where,
            )
            return survey_network(model, request)

    def try_out(self, model: nn.Module, example: Tensor) -> None:
        """Refuse now what a plan of the trained network would refuse.

        A plan by loss takes minutes for a large network: its forms, and so what it can reach, are those of energy.
        """
        if self.treatment:
            self.treatment.try_out(model, example)
        if self.given is not None:
            compress(model, self.given)
        elif self.kernels:
            judge = "energy" if self.selector == "loss" else self.selector
            survey = self._replace(selector=judge, refit=False).survey(model, example, None)
            survey._replace(selector=self.selector).plan(self.budget)

    def build(self, model: nn.Module, plan: Plan, images: Calibration | None) -> nn.Module:
        """Make the network as planned, refitted and with new BatchNorm statistics as the recipe says."""
        if images is None or not self.wants_images:
            return compress(model, plan)
        stats = images.stats if self.calibrated else None
        with stage("compress"):
            small = compress(model, plan, stats=stats)
        if self.refit:
            with stage("refit"):
                small = refit(small, model, images.batches, stats=stats, seed=images.seed)
        if not self.reestimate:
            return small
        return reestimate_batchnorm(small, tracked(images.batches, "measure BatchNorm anew, batch"))


def thinner(model: nn.Module, compression: Compression, example: Tensor) -> Thin:
    """Return the network that is compressed: the dense one, without the channels that the options take out."""
    fraction = compression.prune_channels
    return Thin(model, {}) if fraction is None else prune_channels(model, fraction, example, KINDS[compression.layers])


def from_dense(plan: Plan, thin: Thin, dense: nn.Module, example: Tensor) -> Plan:
    """Return the plan of the thinner network, its costs those of the dense network before."""
    if not thin.widths or plan.widths:
        return plan
    images, model = example.to(next(dense.parameters()).device), thin.model
    whole = replace(plan, before=cost(dense, images[:1]), widths=thin.widths)
    if plan.seconds is None:
        return whole
    with evaluating(dense), evaluating(model):  # side by side: machines drift
        times = interleaved({"dense": lambda: dense(images), "thin": lambda: model(images)})
    before = plan.seconds.before * times["dense"].median / times["thin"].median
    return replace(whole, seconds=plan.seconds._replace(before=before))


def _with_refit(made: Recipe, compression: Compression, usual: bool, argument: str, value: str) -> Recipe:
    """Refit where the options say so, by default where it is `usual`, but never what makes no factors."""
    require(made.factors or not compression.refit, argument, value, FACTORS)
    wanted = usual if compression.refit is None else compression.refit
    return made._replace(refit=wanted and made.factors)


def recipe(kernel: str, compression: Compression) -> Recipe:
    """Make the recipe of one --kernel; ValueError in one sentence for options that cannot be combined."""
    kernels = MIXED if kernel == AUTO else (kernel,)
    rows = [method(name) for name in kernels]
    if compression.budget is not None:
        budget = Budget.parse(compression.budget)
    else:
        budget = Budget(macs=0.5) if all("macs" in row.saves for row in rows) else Budget(params=0.5)
    selector = compression.selector or "loss"
    require(selector in SELECTORS, "selector", selector, f"one of {', '.join(SELECTORS)}")
    check_kernels(kernels, budget, selector)  # as make_plan does, but before any image is read
    made = Recipe(kernels, budget, selector, False, compression.reestimate_batchnorm, compression.layers)
    return _with_refit(made, compression, selector == "loss", "kernel for --refit", kernel)


def planned(compression: Compression, plan: Plan) -> Recipe:
    """Make the recipe of a plan that is given."""
    kernels = tuple(dict.fromkeys(row.kernel for row in plan.layers if row.kernel is not None))
    require(bool(kernels), "plan", str(compression.plan), "one that compresses a layer at least")
    check_kernels(kernels, plan.budget, "energy")
    made = Recipe(kernels, plan.budget, plan.selector, False, compression.reestimate_batchnorm, given=plan)
    usual = plan.selector in ("loss", "search")
    return _with_refit(made, compression, usual, "plan for --refit", str(compression.plan))


def recipes(compression: Compression) -> dict[str, Recipe]:
    """Return name of its row -> recipe, for each --kernel; without one the dense network is pruned or quantised."""
    treatment, fraction = Treatment.of(compression), compression.prune_channels
    require(fraction is None or 0 <= fraction < 1, "prune channels", fraction, "at least 0 and below 1")
    thin = None if fraction is None else "thin"
    made: dict[str | None, Recipe] = {kernel: recipe(kernel, compression) for kernel in compression.kernel}
    if compression.plan is not None:
        made["planned"] = planned(compression, Plan.load(compression.plan))
    if not made and (treatment or thin):
        given = [name for name in ("budget", "selector", "refit") if getattr(compression, name)]
        require(not given, "options of kernels", given, "left out without a --kernel")
        anew = compression.reestimate_batchnorm
        made[None] = Recipe((), Budget(params=1.0), "energy", refit=False, reestimate=anew, layers=compression.layers)
    for kernel, plain in made.items():
        require(plain.factors or not treatment, "kernel for --prune and --quantise", kernel, FACTORS)
    return {
        treatment.name("-".join(filter(None, (thin, kernel)))): plain._replace(treatment=treatment, channels=fraction)
        for kernel, plain in made.items()
    }


def predicted(plan: Plan) -> float | None:
    """Return the rise of the loss that the plan foresees; None where its selector foresees none."""
    return sum(row.error for row in plan.layers) if plan.selector == "loss" else None
