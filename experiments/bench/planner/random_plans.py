"""Does the predicted rise of the loss rank plans as the measured one does?  Spearman's correlation of random plans."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from layers import Budget, Plan, cost
from layers.factored import Form
from layers.planning import LayerForms, LayerPlan

from ...lab.evaluation.calibration import Calibration, drawn
from ...lab.evaluation.evaluate import accuracy
from ...lab.progress import Pace
from ...lab.recipes.job import Job
from ...lab.reporting.canvas import canvas, save, styled
from ...lab.reporting.style import COLOURS, GREY
from ...lab.steps.kernel import AUTO, Kernel

SHARES = (0.3, 1.0)  # of its own cost that a layer keeps, the middle of a plan's draws; below, most plans are at chance
SPREAD = 0.4  # standard deviation of the logarithm of the share, between the layers of a plan


class Ranking(NamedTuple):
    """The predicted and the measured rise of the cross-entropy of every plan."""

    predicted: list[float]
    measured: list[float]
    images: int  # on which it was measured

    @property
    def spearman(self) -> float:
        """Return the rank correlation of the two."""
        return float(spearmanr(self.predicted, self.measured).statistic)


def rank(job: Job, calibrating: int, held_out: int, plans: int, seed: int, log: Callable[[str], None]) -> Ranking:
    """Draw plans, build them without a refit, and measure the loss on training images that did not calibrate."""
    train = job.dataset.train()
    chosen = drawn(len(train.labels), calibrating + held_out, seed)
    order = np.random.default_rng(seed).permutation(chosen)
    held, others = train.part(np.sort(order[:held_out])), train.part(np.sort(order[held_out:]))
    images = Calibration(job.model, others, job.dataset, seed, job.device)
    recipe, generator = Kernel(AUTO, macs=1.0, refit=False), np.random.default_rng(seed)
    layers = recipe.survey(job.model, job.example, images.stats).layers
    dense = accuracy(job.model, held, job.dataset, job.device).loss
    predicted, measured = [], []
    pace = Pace(plans)
    for number in range(plans):
        share = float(np.geomspace(*SHARES, plans)[number])
        choice = [_draw(layer, share * float(np.exp(SPREAD * generator.normal())), generator) for layer in layers]
        small = recipe.build(job.model, plan_of(job, layers, choice), images)
        predicted.append(sum(form.error for form in choice))
        measured.append(accuracy(small, held, job.dataset, job.device).loss - dense)
        log(f"random plan {pace(number + 1)}: predicted {predicted[-1]:.4g}, measured {measured[-1]:.4g}")
    return Ranking(predicted, measured, held_out)


def _draw(layer: LayerForms, share: float, generator: np.random.Generator) -> Form:
    """Return the form, of a kernel drawn at random or dense, whose cost is nearest to the share of dense."""
    dense = layer.forms[-1]
    kernels = sorted({form.kernel for form in layer.forms if form.kernel is not None})
    if not kernels or share >= 1:
        return dense
    kernel = kernels[int(generator.integers(len(kernels)))]
    offered = [form for form in layer.forms if form.kernel == kernel]
    return min(offered, key=lambda form: abs(np.log(form.price / (share * dense.price))))


def plan_of(job: Job, layers: list[LayerForms], choice: list[Form]) -> Plan:
    """Return the plan by which every layer takes its form of the choice."""
    rows, before = [], cost(job.model, job.example[:1].to(job.device))
    after = before
    for layer, form in zip(layers, choice):
        dense = layer.forms[-1].cost
        after = after + form.cost - dense
        rows.append(LayerPlan(layer.name, form.kernel, form.spec, dense, form.cost, form.error))
    return Plan(tuple(rows), Budget(macs=1.0), "loss", before, after)


@styled()
def draw(ranking: Ranking, model: str) -> Figure:
    """Draw the measured rise of the loss against the predicted one, a point for each plan."""
    figure, (ax,) = canvas(1, (3.9, 3.6))
    points = np.array([ranking.predicted, ranking.measured])
    ax.scatter(ranking.predicted, ranking.measured, s=18, color=COLOURS[1])
    top = float(points.max())
    low = float(points[points > 0].min(initial=top))
    ax.plot([low, top], [low, top], color=GREY, linewidth=0.8, linestyle=":", label="equal")
    ax.set_xscale("log")
    linear = max(low, 1e-3)  # around 0: the loss of a few images may even fall
    ax.set_yscale("symlog", linthresh=linear)
    ax.set_ylim(min(0.0, float(points[1].min())) - linear / 4, 2 * max(top, linear))
    ax.set_xlabel("predicted rise of the loss")
    ax.set_ylabel(f"measured on {ranking.images:,} held-out training images")
    ax.set_title(f"{model}: {len(ranking.measured)} random plans, Spearman {ranking.spearman:.3f}")
    ax.legend()
    return figure


def write(ranking: Ranking, model: str, table: Path) -> None:
    """Write the figure as PNG, beside the table and of its name."""
    table.parent.mkdir(parents=True, exist_ok=True)
    save(draw(ranking, model), table.with_suffix(""), ("png",))
