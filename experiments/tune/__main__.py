"""`python -m experiments.tune`: search for training settings, with any number of workers on one study."""

import sys

from ..lab.command import door
from .config import Tune


def act(tune: Tune) -> None:
    """Do trials until the study has as many as were asked for, and print the best."""
    import optuna
    from rich.console import Console

    from ..lab.progress import log
    from ..lab.runs import record
    from ..lab.runs.inputs import changes_of_study
    from ..lab.trials import storage, workers
    from . import objective, outcome
    from .sampler import SeededByTrial

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it reports is in the table and in the figures
    options = tune.output
    job = objective.check(tune)
    # with --storage the folder comes last: a database that cannot be used leaves nothing behind
    url = options.storage or storage.sqlite_url(record.make_folder(options.out, tune.name) / "study.db")
    database = storage.open_storage(url, options.heartbeat, options.retries)
    sampler = SeededByTrial(tune.training.seed)
    study = storage.open_study(database, tune.name, tune.flat(), sampler, tune.search.pruner)
    for phrase in changes_of_study(study, job.config):
        log(f"earlier trials are of {phrase}: --study-name NAME begins a study of today's")
    folder = record.make_folder(options.out, tune.name)
    workers.work(study, database, objective.objective(job, tune.space), options.trials, log)
    outcome.write(tune, study, folder)
    storage.close(database)
    best = outcome.best(study)
    out = Console()
    out.print(outcome.summary(tune, study), markup=False, highlight=False)
    if best is not None:
        out.print(outcome.command(tune, best), soft_wrap=True, markup=False, highlight=False)
    out.print(f"figures: {folder / 'report.html'}", soft_wrap=True, markup=False, highlight=False)


main = door("tune", Tune, act, resumes=True)

if __name__ == "__main__":
    sys.exit(main())
