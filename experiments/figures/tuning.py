"""Optuna's four figures of a study of settings, drawn again from the trials in the record."""

import warnings
from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from checks import require

from ..lab.results.result import Result
from .costs import WIDTH
from .epochs import series
from .manifest import Wanted

VALUE = "value"  # of a trial; every other series is a setting
SIZES = {"history": (WIDTH, 2.8), "importance": (WIDTH, 2.6), "parallel": (WIDTH, 3.2), "contour": (WIDTH, 5.6)}
MOST = 3  # settings in the contours, which take a panel for each pair


def draw(wanted: Wanted, records: Mapping[str, Result]) -> Figure:
    """Draw what y names: history, importance (fANOVA, Hutter et al. 2014), parallel or contour."""
    from matplotlib import pyplot
    from optuna.visualization import matplotlib as backend

    what = wanted.y[0]
    require(what in SIZES, f"figures.toml: {wanted.name}.y", what, f"one of {', '.join(SIZES)}")
    study = _study(wanted, records)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna's own: its matplotlib figures are called experimental
        order = _order(study) if what != "history" else []
        made: Any = {
            "history": lambda: backend.plot_optimization_history(study, target_name=wanted.x[0]),
            "importance": lambda: backend.plot_param_importances(
                study, evaluator=_evaluator(), target_name=wanted.x[0]
            ),
            "parallel": lambda: backend.plot_parallel_coordinate(study, params=order, target_name=wanted.x[0]),
            "contour": lambda: backend.plot_contour(study, params=order[:MOST], target_name=wanted.x[0]),
        }[what]()
    figure: Figure = made.figure if hasattr(made, "figure") else made.flat[0].figure
    pyplot.close(figure)  # optuna draws with pyplot, which keeps every figure until it is told not to
    figure.set_size_inches(*SIZES[what])
    return figure


def _study(wanted: Wanted, records: Mapping[str, Result]) -> Any:
    import optuna
    from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
    from optuna.trial import create_trial

    (shown,) = wanted.panels[0].shown
    values = series(records, shown, VALUE)[0]
    known = records[shown.of].series[shown.row][shown.level]
    settings = {name: lists[0] for name, lists in known.items() if name != VALUE}
    spaces: dict[str, BaseDistribution] = {
        name: FloatDistribution(min(given), max(given), log=min(given) > 0 and max(given) > 10 * min(given))
        if all(isinstance(one, int | float) for one in given) and len(set(given)) > 1
        else CategoricalDistribution(sorted(set(given), key=str))
        for name, given in settings.items()
    }
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for number, value in enumerate(values):
        params = {name: given[number] for name, given in settings.items()}
        study.add_trial(create_trial(params=params, distributions=spaces, value=value))
    return study


def _evaluator() -> Any:
    from optuna.importance import FanovaImportanceEvaluator

    return FanovaImportanceEvaluator(seed=0)


def _order(study: Any) -> list[str]:
    from optuna.importance import get_param_importances

    return list(get_param_importances(study, evaluator=_evaluator()))
