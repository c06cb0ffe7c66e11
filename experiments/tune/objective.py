"""One trial: settings from the space, a network trained with them, its best validation accuracy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
from optuna.trial import Trial

from checks import require
from layers.network import copy_of

from ..lab.config import Config, Data, Training
from ..lab.recipes.job import Job, check as check_job
from ..lab.training.stopped import Diverged, NoRoom
from ..lab.training.train import train
from ..lab.trials.report import Report
from .config import SEARCHED, Space, Tune


def check(tune: Tune) -> Job:
    """Return the job whose network and images every trial uses; ValueError in one sentence for what is wrong."""
    space, workers = tune.space, tune.output
    for name in ("batch_sizes", "optimizers", "schedules"):
        values = getattr(space, name)
        require(len(values) > 0 and len(set(values)) == len(values), words(name), values, "one or more distinct values")
    require(min(space.batch_sizes) >= 1, "batch sizes", space.batch_sizes, "at least 1 each")
    for name in ("lrs", "weight_decays", "step_sizes", "gammas", "epochs"):
        low, high = getattr(space, name)
        require(0 < low <= high < float("inf"), words(name), (low, high), "two numbers above 0, the lower one first")
    for name, least in (("trials", 1), ("heartbeat", 1), ("retries", 0)):
        require(getattr(workers, name) >= least, name, getattr(workers, name), f"at least {least}")
    for plural, name in SEARCHED.items():
        group: Any = tune.data if name == "batch_size" else tune.training
        usual = getattr(Data() if name == "batch_size" else Training(), name)
        option = f"--{words(plural, '-')}"
        require(getattr(group, name) == usual, words(name), getattr(group, name), f"left to the search: pass {option}")
    processes = tune.training.devices * tune.training.nodes
    require(processes == 1, "devices x nodes", processes, "1: the same command in more terminals shares the study")
    return check_job(Config.of_trained(tune.network, tune.data, tune.training))


def words(name: str, between: str = " ") -> str:
    """Write a field as it is spoken of."""
    return name.replace("_", between)


def suggest(trial: Trial, space: Space) -> dict[str, Any]:
    """Draw settings by the names of the fields that they go to; what the schedule does not use is not asked for."""
    settings = {
        "batch_size": trial.suggest_categorical("batch_size", space.batch_sizes),
        "optimizer": trial.suggest_categorical("optimizer", space.optimizers),
        "lr": trial.suggest_float("lr", *space.lrs, log=True),
        "weight_decay": trial.suggest_float("weight_decay", *space.weight_decays, log=True),
        "schedule": trial.suggest_categorical("schedule", space.schedules),
        "max_epochs": trial.suggest_int("max_epochs", *space.epochs),
    }
    if settings["schedule"] == "step":
        settings["step_size"] = trial.suggest_int("step_size", *space.step_sizes)
        settings["gamma"] = trial.suggest_float("gamma", *space.gammas)
    return settings


def objective(job: Job, space: Space) -> Callable[[Trial], float]:
    """trial -> validation accuracy of its best epoch, in percent; every trial starts from the same weights.

    Stopped (a ValueError) for a network that fails on its first batch whatever the settings.
    """

    def run(trial: Trial) -> float:
        settings = suggest(trial, space)
        batch_size = settings.pop("batch_size")
        training = replace(job.config.training, **settings)
        try:
            return train(
                copy_of(job.model),
                job.dataset,
                training,
                epochs=settings["max_epochs"],
                lr=training.lr,
                batch_size=batch_size,
                seed=training.seed,
                callbacks=[Report(trial)],
            )
        except (Diverged, NoRoom) as error:  # of these settings alone; whatever else fails would fail in every trial
            trial.set_user_attr("diverged", str(error))
            raise optuna.TrialPruned(str(error)) from None

    return run
