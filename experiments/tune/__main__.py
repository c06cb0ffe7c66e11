"""`python -m experiments.tune`: search for training settings, with any number of workers on one study."""

import sys

import tyro

from .config import Tune


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when the study has its trials, 2 when the input is refused."""
    tune = tyro.cli(Tune, prog="python -m experiments.tune", args=arguments, config=(tyro.conf.OmitArgPrefixes,))
    import optuna  # late: neither it nor torch is needed to answer --help
    from rich.console import Console

    from ..lab.runs import record
    from ..lab.trials import storage, workers
    from . import objective, outcome
    from .sampler import SeededByTrial

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it reports is in the table and in the figures
    console = Console(stderr=True)
    try:
        job = objective.check(tune)
        folder = record.make_folder(tune.output.out, tune.name)
        url = tune.output.storage or f"sqlite:///{(folder / 'study.db').absolute()}"
        database = storage.open_storage(url, tune.output.heartbeat, tune.output.retries)
        study = storage.open_study(
            database, tune.name, tune.flat(), SeededByTrial(tune.training.seed), tune.search.pruner
        )
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    try:
        workers.work(
            study,
            database,
            objective.objective(job, tune.space),
            tune.output.trials,
            lambda words: console.print(words, highlight=False),
        )
    except (ValueError, OSError) as error:  # an image on disk may turn out to be corrupt
        sys.stderr.write(f"error: {error}\n")
        return 2
    outcome.write(tune, study, folder)
    database.engine.dispose()
    found = outcome.best(study)
    out = Console()
    out.print(outcome.summary(tune, study), highlight=False)
    if found is not None:
        out.print(outcome.command(tune, found), soft_wrap=True, highlight=False)
    out.print(f"figures: {folder / 'report.html'}", soft_wrap=True, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
