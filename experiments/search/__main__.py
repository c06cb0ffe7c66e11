"""`python -m experiments.search`: a better plan at the same budget, with any number of workers on one study."""

import sys

from ..lab.command import door
from .config import Search


def act(search: Search) -> None:
    """Do trials until every budget has as many as were asked for, and print what they gained."""
    import optuna
    from rich.console import Console

    from ..lab.progress import log
    from ..lab.reporting.tables import print_table
    from ..lab.runs import record
    from ..lab.runs.inputs import changes_of_study
    from ..lab.trials import storage, workers
    from . import outcome, trial

    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it reports is in the tables and in the figure
    options = search.output
    job, recipes = trial.check(search)
    # before the survey, which takes a while; without --storage the folder comes first, and nothing is refused after
    database = storage.open_storage(options.storage, options.heartbeat, options.retries) if options.storage else None
    site, weights = trial.survey(job, recipes, search.policy.residual), trial.fingerprint(job.model)
    name = search.name(weights)
    folder = record.make_folder(options.out, name)
    if database is None:
        url = storage.sqlite_url(folder / "study.db")
        database = storage.open_storage(url, options.heartbeat, options.retries)
    studies = {}
    for budget, recipe in recipes.items():
        sampler = trial.sampler(site, recipe, search.training.seed)
        pruner = search.trials.pruner if search.trials.epochs else "none"
        settings = search.flat(weights)
        studies[budget] = storage.open_study(database, f"{name} {budget}", settings, sampler, pruner, "minimize")
        for phrase in changes_of_study(studies[budget], job.config):
            log(f"{budget}: earlier trials are of {phrase}: --study-name NAME begins a study of today's")
        workers.work(studies[budget], database, trial.objective(site, recipe, log), options.trials, log)
    with outcome.alone(folder):
        results = outcome.write(search, site, recipes, studies, folder)
    storage.close(database)
    out = Console()
    print_table(outcome.comparison(results), out)
    for words in results["said"]:
        out.print(words, soft_wrap=True, markup=False, highlight=False)
    out.print(f"report: {folder / 'report.html'}", soft_wrap=True, markup=False, highlight=False)


main = door("search", Search, act, resumes=True)

if __name__ == "__main__":
    sys.exit(main())
