"""One trial: a plan from the policy, the network compressed, refitted and fine-tuned, its loss on validation images."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import optuna
from optuna.trial import Trial, TrialState
from torch import nn

from checks import require
from layers import Budget, Plan
from layers.costs import Cost
from layers.planning import MIXED, Survey

from ..lab.evaluation.calibration import Calibration, drawn, image_count
from ..lab.evaluation.evaluate import accuracy
from ..lab.recipes.fit import fine_tune
from ..lab.recipes.job import Job, job_of_trained_network
from ..lab.steps.kernel import AUTO, Kernel
from ..lab.training.stopped import Diverged, NoRoom
from ..lab.trials.report import Report
from .config import Search
from .policy import LIMIT, Policy
from .sampler import PLAN, PolicySampler

MOST_EPOCHS = 3


class Site(NamedTuple):
    """A trained network, surveyed: what every trial of a process begins with."""

    job: Job
    images: Calibration
    survey: Survey
    policy: Policy

    def plan(self, recipe: Kernel, coefficients: Mapping[str, float]) -> Plan:
        """Plan within the budget; the selector is `loss` where all coefficients are 0, else `search`."""
        plan = self.survey.plan(recipe.budget, self.policy.weight(coefficients))
        return replace(plan, selector="search") if any(coefficients.values()) else plan

    def start(self, coefficients: Mapping[str, float] | None = None) -> dict[str, float]:
        """Return coefficients by name, 0 where none is given: the plan of selector `loss`."""
        return dict.fromkeys(self.policy.spreads, 0.0) | dict(coefficients or {})


def check(search: Search) -> tuple[Job, dict[str, Kernel]]:
    """Return the job, and the recipe of each budget; ValueError in one sentence for what is wrong."""
    policy, trials, workers = search.policy, search.trials, search.output
    for name in ("budget", "kernel"):
        values = getattr(policy, name)
        require(len(values) > 0 and len(set(values)) == len(values), name, values, "one or more distinct values")
    require(0 <= policy.residual <= 1, "residual", policy.residual, "from 0 to 1")
    require(0 <= trials.epochs <= MOST_EPOCHS, "epochs", trials.epochs, f"0 to {MOST_EPOCHS}")
    for name, least in (("trials", 1), ("heartbeat", 1), ("retries", 0)):
        require(getattr(workers, name) >= least, name, getattr(workers, name), f"at least {least}")
    for name in ("max_epochs", "finetune_epochs"):
        given = getattr(search.training, name)
        require(given is None, name.replace("_", " "), given, "left out: pass --epochs, of each trial")
    processes = (search.training.devices, search.training.nodes)
    require(processes == (1, 1), "devices and nodes", processes, "1 each: start the command once for each worker")
    kernels = MIXED if policy.kernel == (AUTO,) else policy.kernel
    recipes = {}
    for text in policy.budget:
        recipe = Kernel.within(
            Budget.parse(text), layers=policy.layers, refit=None if trials.refit else False, of=kernels
        )
        require(recipe.factors, "kernel", policy.kernel, f"auto, or some of {', '.join(MIXED)}")
        counted = recipe.budget.metric in Cost._fields
        require(counted, "budget", text, "on macs, params or bytes, which no machine changes")
        recipes[str(recipe.budget)] = recipe
    metrics = {recipe.budget.metric for recipe in recipes.values()}
    require(
        len(metrics) == 1, "budget", policy.budget, "of one metric: the others are searched by a command of their own"
    )
    job = job_of_trained_network(search.run())
    job.dataset.train(), job.dataset.val()  # read now: a torn file is refused before anything is written
    if trials.validation_images is not None:
        val = job.dataset.val()
        there, asked = len(val.labels), trials.validation_images
        require(1 <= asked <= there, "validation images", asked, f"1 to {there}, the number of those that validate")
        part = val.part(drawn(there, asked, search.training.seed))
        job = job._replace(dataset=job.dataset._replace(val=lambda: part))
    count = image_count(trials.calibration_images, len(job.dataset.calibration().labels), job.example.shape[-1])
    return job._replace(calibration_images=count), recipes


def sampler(site: Site, recipe: Kernel, seed: int) -> PolicySampler:
    """Return what draws the coefficients of one budget's trials."""
    return PolicySampler(seed, site.policy.spreads, LIMIT, lambda coefficients: key(site.plan(recipe, coefficients)))


def survey(job: Job, recipes: Mapping[str, Kernel], residual: float) -> Site:
    """Calibrate and look at every option of every layer, once for all trials; ValueError for a budget out of reach."""
    images, recipe = job.calibration(job.model), next(iter(recipes.values()))
    assert images is not None
    forms = recipe.survey(job.model, job.example, images.stats, job.hands)
    require(any(len(layer.forms) > 1 for layer in forms.layers), "model", job.config.network.model, "one with a choice")
    site = Site(job, images, forms, Policy.of(forms, recipe.kernels, residual))
    for recipe in recipes.values():
        site.plan(recipe, site.start())
    return site


def fingerprint(model: nn.Module) -> str:
    """Return a digest of the weights and their names: eight hexadecimal digits."""
    sha = hashlib.sha256()
    for name, tensor in model.state_dict().items():
        sha.update(name.encode())
        sha.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()[:8]


def key(plan: Plan) -> str:
    """Return a digest, the same for plans that make the same of every layer: eight hexadecimal digits."""
    rows = [[row.name, row.kernel, dict(row.spec)] for row in plan.layers]
    return hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()[:8]


def objective(site: Site, recipe: Kernel, log: Callable[[str], None] = lambda words: None) -> Callable[[Trial], float]:
    """trial -> cross-entropy on the validation images, after refit and fine-tuning.

    Not the accuracy, which the trial keeps beside it: the loss is what plans are made to raise least, and it tells two
    plans apart where few of the images change sides.  A plan that was tried before has the result that it had.
    """
    job = site.job

    def run(trial: Trial) -> float:
        coefficients = {name: trial.suggest_float(name, -LIMIT, LIMIT) for name in site.policy.spreads}
        plan = site.plan(recipe, coefficients)
        for name, cost in zip(Cost._fields, plan.after):
            trial.set_user_attr(name, cost)
        trial.set_user_attr(PLAN, key(plan))
        complete = trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if same := next((t for t in complete if t.user_attrs[PLAN] == key(plan)), None):
            trial.set_user_attr("val_top1", same.user_attrs["val_top1"])
            log(f"{recipe.budget}, trial {trial.number}: the plan of trial {same.number}")
            assert same.value is not None
            return same.value
        small, val = recipe.build(job.model, plan, site.images), job.dataset.val()
        if job.finetune_epochs:
            report = Report(trial, first=1, errors=True)
            report.tell(accuracy(small, val, job.dataset, job.device).top1, 0)
            try:
                fine_tune(job, small, [report])
            except (Diverged, NoRoom) as error:  # a loss of NaN, or a batch that the device has no room for
                trial.set_user_attr("diverged", str(error))
                raise optuna.TrialPruned(str(error)) from None
        right = accuracy(small, val, job.dataset, job.device)
        trial.set_user_attr("val_top1", right.top1)
        log(
            f"{recipe.budget}, trial {trial.number}: loss {right.loss:.4f}, top-1 {right.top1:.2f} on validation images"
        )
        return right.loss

    return run
