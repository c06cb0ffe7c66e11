"""The study of orders: every list of steps of `--compress`, each a trial that one of any number of workers does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from braceexpand import UnbalancedBracesError, braceexpand  # type: ignore[attr-defined]  # its stubs lack the error
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from checks import require

from ..lab.evaluation.evaluate import accuracy, latencies
from ..lab.progress import log as say
from ..lab.recipes.job import Job, job_of_trained_network
from ..lab.recipes.ladder import Ladder
from ..lab.runs import record
from ..lab.runs.inputs import changes_of_study
from ..lab.steps.language import row_name, step_name, written
from ..lab.steps.state import Steps
from ..lab.trials import storage, workers
from .config import Sweep
from .orders_outcome import write

STEPS = "steps"  # the one parameter of a trial: the name of a list


def expanded(templates: tuple[str, ...]) -> tuple[str, ...]:
    """Write out the braces of lists: 'svd macs={0.4,0.6}, finetune 3' is two; ValueError for one that is open."""
    try:
        return tuple(dict.fromkeys(text for template in templates for text in braceexpand(template)))
    except UnbalancedBracesError:
        allowed = "lists whose braces are closed, as macs={0.4,0.6}"
        raise ValueError(f"compress must be {allowed}, got {', '.join(templates)!r}") from None


class Next(BaseSampler):
    """The first list that no trial is of, unless it was lost with its worker."""

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return nothing: there is one parameter."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """Return the list."""
        names = list(distribution.choices)  # type: ignore[attr-defined]  # a categorical one
        begun = {t.params.get(STEPS) for t in study.get_trials(deepcopy=False) if t.state != TrialState.FAIL}
        return next((name for name in names if name not in begun), names[0])


def missing(study: Study, names: list[str]) -> list[str]:
    """List what no trial is done with: two workers may have taken the same list at once."""
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return [name for name in names if name not in {trial.params[STEPS] for trial in done}]


def check(sweep: Sweep) -> tuple[Job, dict[str, Steps]]:
    """Return the trained network and the lists by name; ValueError in one sentence for what is wrong."""
    for name, least in (("heartbeat", 1), ("retries", 0)):
        require(getattr(sweep.output, name) >= least, name, getattr(sweep.output, name), f"at least {least}")
    job = job_of_trained_network(sweep.run(expanded(sweep.curves.compress)))
    job.dataset.train(), job.dataset.val()  # read now: a torn file is refused before anything is written
    return job, job.rows


def objective(job: Job, folder: Path, log: Callable[[str], None] = say) -> Callable[[Trial], float]:
    """trial -> validation accuracy of the network that its list makes; networks after common first steps are made once.

    A budget out of reach ends the trial, with the reason in its attributes.
    """
    shop, sizes = job.workshop(), sorted(job.config.measurement.latency_batches)

    def run(trial: Trial) -> float:
        name = trial.suggest_categorical(STEPS, list(job.rows))
        steps = job.rows[name]
        log(", ".join(map(written, steps)))
        ladder = Ladder(job, name, steps, lambda number: folder / "states" / row_name(steps[:number]) / "network")
        try:
            network = ladder.climb(shop).network()
        except ValueError as error:
            log(f"left out: {error}")
            trial.set_user_attr("left out", str(error))
            raise optuna.TrialPruned(str(error)) from None
        rung = ladder.rungs()[-1]
        val = rung.val_top1
        if val is None:
            val = accuracy(network, job.dataset.val(), job.dataset, job.device).top1
        timing = latencies({"dense": job.model, name: network}, job.example.to(job.device), sizes)
        times = {f"latency_{n}": timing[n][name].median / timing[n]["dense"].median for n in sizes}
        times |= {f"latency_{n}_noisy": any(timed.busy for timed in timing[n].values()) for n in sizes}
        facts = {"order": order(steps), "list": ", ".join(map(written, steps)), **rung._asdict(), **times}
        for key, value in {**facts, "environment": record.environment()}.items():
            trial.set_user_attr(key, value)
        return val

    return run


def order(steps: Steps) -> str:
    """Name the steps without their numbers: what is compared."""
    return ", ".join(map(step_name, steps))


def execute(sweep: Sweep, log: Callable[[str], None]) -> Path:
    """Do what no worker has done, wait for what others do, write the table and the figure; return the folder."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it reports is in the table
    job, lists = check(sweep)
    options, name, names = sweep.output, sweep.name, list(lists)
    url = options.storage or storage.sqlite_url(record.make_folder(options.out, name) / "study.db")
    database = storage.open_storage(url, options.heartbeat, options.retries)
    study = storage.open_study(database, name, sweep.flat(), Next(), "none")
    for phrase in changes_of_study(study, job.config):
        log(f"earlier points are of {phrase}: --study-name NAME begins a study of today's")
    folder = record.make_folder(options.out, name)
    run = objective(job, folder, log)
    while left := missing(study, names):
        over = len(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))
        workers.work(study, database, run, over + len(left), log)
    write(sweep, job, study, folder)
    storage.close(database)
    return folder
