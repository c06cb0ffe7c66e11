"""`python -m experiments.search`: a better plan at the same budget, with any number of workers on one study."""

import sys

import tyro

from .config import Search


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when every budget has its trials, 2 when the input is refused."""
    search = tyro.cli(Search, prog="python -m experiments.search", args=arguments, config=(tyro.conf.OmitArgPrefixes,))
    import optuna  # late: neither it nor torch is needed to answer --help
    from rich.console import Console

    from ..lab.runs import record
    from ..lab.trials import storage, workers
    from . import outcome, trial

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it reports is in the tables and in the figure
    console, asked = Console(stderr=True), search.output

    def say(words: str) -> None:
        console.print(words, soft_wrap=True, markup=False, highlight=False)

    try:
        job, recipes = trial.check(search)
        # before the survey, which takes a while; without --storage the folder comes first, and nothing is refused after
        database = storage.open_storage(asked.storage, asked.heartbeat, asked.retries) if asked.storage else None
        site, weights = trial.survey(job, recipes, search.policy.residual), trial.fingerprint(job.model)
        name = search.name(weights)
        folder = record.make_folder(asked.out, name)
        if database is None:
            url = f"sqlite:///{(folder / 'study.db').absolute()}"
            database = storage.open_storage(url, asked.heartbeat, asked.retries)
        studies = {}
        for budget, how in recipes.items():
            sampler = trial.sampler(site, how, search.training.seed)
            pruner = search.trials.pruner if search.trials.epochs else "none"
            studies[budget] = storage.open_study(
                database, f"{name} {budget}", search.flat(weights), sampler, pruner, "minimize"
            )
            workers.work(studies[budget], database, trial.objective(site, how, say), asked.trials, say)
        with outcome.alone(folder):
            found = outcome.write(search, site, recipes, studies, folder)
        database.engine.dispose()
    except (ValueError, OSError) as error:  # an image on disk may turn out to be corrupt
        sys.stderr.write(f"error: {error}\n")
        return 2
    out = Console()
    out.print(outcome.terminal_table(found))
    for words in found["said"]:
        out.print(words, soft_wrap=True, highlight=False)
    out.print(f"report: {folder / 'report.html'}", soft_wrap=True, highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
