"""What a search adds over selector `loss`: both plans carried out alike, at the same budget, on the test images too."""

from collections.abc import Mapping
from math import sqrt
from typing import NamedTuple

from optuna.trial import FrozenTrial
from torch import Tensor, nn

from layers import Cost, Plan, cost

from ..lab.evaluation.evaluate import Accuracy, Judged, judge
from ..lab.recipes.fit import fine_tune
from ..lab.recipes.job import Job
from ..lab.steps.kernel import Kernel
from .trial import Site


class Compared(NamedTuple):
    """One network of the comparison, after refit and fine-tuning."""

    budget: str
    plan: str  # dense, loss or search
    trial: int | None
    params: int
    macs: int
    bytes: int
    val_top1: float
    val_loss: float
    test_top1: float
    test_loss: float


class Gain(NamedTuple):
    """Search less `loss`, on the test images: points of accuracy, and 1.96 standard errors of that."""

    budget: str
    trial: int
    points: float
    error: float


class Made(NamedTuple):
    """A plan of the comparison, carried out."""

    plan: Plan
    network: nn.Module
    row: Compared
    test: Judged


def dense(job: Job) -> tuple[Compared, Judged]:
    """Measure the network before any compression."""
    return _row(job, job.model, "", "dense", None)


def compare(site: Site, recipe: Kernel, best: FrozenTrial) -> tuple[Made, Made, Gain]:
    """Carry out the plan of selector `loss` and that of the trial of least validation loss, both in the same way.

    Fine-tuning keeps the weights it began with unless an epoch is better, so each is the better of before and after.

    Nothing is chosen here, and only here test images are looked at.
    """
    start, coefficients = site.start(), site.start(best.params)
    loss = _made(site, recipe, start, "loss", 0)
    if coefficients == start:
        search = loss._replace(row=loss.row._replace(plan="search"))
    else:
        search = _made(site, recipe, coefficients, "search", best.number)
    points, error = paired(loss.test.first, search.test.first)
    return loss, search, Gain(str(recipe.budget), search.row.trial or 0, points, error)


def _made(site: Site, recipe: Kernel, coefficients: Mapping[str, float], name: str, trial: int) -> Made:
    plan = site.plan(recipe, coefficients)
    small = recipe.build(site.job.model, plan, site.images)
    fine_tune(site.job, small)
    return Made(plan, small, *_row(site.job, small, str(recipe.budget), name, trial))


def _row(job: Job, model: nn.Module, budget: str, name: str, trial: int | None) -> tuple[Compared, Judged]:
    costs: Cost = cost(model, job.example[:1].to(job.device))
    val, test = (judge(model, split, job.dataset, job.device) for split in (job.dataset.val(), job.dataset.test()))
    of = {"val": Accuracy.of(val), "test": Accuracy.of(test)}
    numbers = {f"{part}_{name}": getattr(right, name) for part, right in of.items() for name in ("top1", "loss")}
    return Compared(budget, name, trial, *costs, **numbers), test


def paired(before: Tensor, after: Tensor) -> tuple[float, float]:
    """Return (difference of two accuracies on n images in points, 1.96 standard errors of it); hits (n,) bool.

    Of images that only one network has right, b and c: (c - b) / n, with the variance (b + c - (c - b)^2 / n) / n^2
    (Fleiss et al. 2003).
    """
    n, b, c = len(before), int((before & ~after).sum()), int((~before & after).sum())
    return 100 * (c - b) / n, 196 * sqrt(b + c - (c - b) ** 2 / n) / n


def words(gain: Gain, rows: Mapping[str, Compared], trials: int, images: tuple[int, int]) -> str:
    """Say in a sentence what search adds; rows: loss and search; images: how many validate and test."""
    loss, search, (validated, tested) = rows["loss"], rows["search"], images
    if gain.trial == 0:
        return f"{gain.budget}: search adds nothing: none of {trials} trials has a lower validation loss than the first"
    chance = abs(gain.points) <= gain.error
    verdict = "no more than chance" if chance else "better" if gain.points > 0 else "worse"
    return (
        f"{gain.budget}: trial {gain.trial} of {trials} changes the loss on {validated:,} validation images, by which "
        f"it was chosen, from {loss.val_loss:.4f} to {search.val_loss:.4f} and the accuracy by "
        f"{search.val_top1 - loss.val_top1:+.2f} points; on {tested:,} test images that is {gain.points:+.2f} "
        f"± {gain.error:.2f} points: {verdict}"
    )
