"""What a study found: trials.csv, best.json, the figures, and the command that trains with the best settings."""

import shlex
import warnings
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from layers.network import write_text

from ..lab.reporting.page import render
from ..lab.runs import record
from . import figures, page
from .config import Tune


def best(study: Study) -> FrozenTrial | None:
    """Return the complete trial of the highest validation accuracy, None if there is none."""
    return study.best_trial if study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)) else None


def command(tune: Tune, trial: FrozenTrial) -> str:
    """Return the `experiments.run` that trains with the settings of a trial."""
    words = ["--model", tune.network.model, "--dataset", tune.data.dataset]
    if tune.data.data_root is not None:
        words += ["--data-root", str(tune.data.data_root)]
    for name, value in trial.params.items():
        words += [f"--{name.replace('_', '-')}", repr(value) if isinstance(value, float) else str(value)]
    return shlex.join(["python", "-m", "experiments.run", *words, "--seed", str(tune.training.seed)])


def summary(tune: Tune, study: Study) -> str:
    """Say how many trials there are, and which is the best."""
    states = [trial.state for trial in study.get_trials(deepcopy=False)]
    counts = f"{states.count(TrialState.COMPLETE)} complete, {states.count(TrialState.PRUNED)} pruned"
    trial = best(study)
    if trial is None:
        return f"{counts}: no trial is complete, so there is no best one"
    return f"{counts}; best: trial {trial.number}, {trial.value:.2f} % on the validation images, never the test images"


def write(tune: Tune, study: Study, folder: Path) -> None:
    """Write everything, each file whole or not at all: several workers may write the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna's table is called experimental
        write_text(folder / "trials.csv", study.trials_dataframe().to_csv(index=False))
    trial = best(study)
    if trial is not None:
        settings = {"validation_top1": trial.value, "settings": trial.params, "command": command(tune, trial)}
        made = {"seed": tune.training.seed, "environment": record.environment()}
        record.write_json(folder / "best.json", {"trial": trial.number, **settings, **made})
    figures.write(study, folder)
    again = "" if trial is None else command(tune, trial)
    shown = page.page(tune, study, summary(tune, study), trial, again, record.environment())
    write_text(folder / "report.html", render(shown))
