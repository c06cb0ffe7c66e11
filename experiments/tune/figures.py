"""The four figures of a study: optimisation history, parameter importance, parallel coordinates, contours."""

import warnings
from pathlib import Path
from typing import Any

import matplotlib
import optuna
from matplotlib import pyplot
from matplotlib.figure import Figure
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import TrialState

from layers.network import whole

MOST = 4  # parameters in the contours: they take a panel for each pair
TITLES = {
    "history": "Optimisation history",
    "importance": "Which settings matter",
    "parallel": "Parallel coordinates",
    "contour": "Contours",
}


def draw(study: Study, backend: Any) -> dict[str, Any]:
    """Name -> figure by optuna.visualization or optuna.visualization.matplotlib.

    Importance is by fANOVA (Hutter et al. 2014), and the other figures show the most important settings: where fewer
    than two complete trials differ in accuracy there is nothing to explain, and the history is all.
    """
    figures = {"history": backend.plot_optimization_history(study, target_name="validation accuracy, %")}
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len({trial.value for trial in complete}) < 2:
        return figures
    evaluator = FanovaImportanceEvaluator(seed=0)
    order = list(get_param_importances(study, evaluator=evaluator))
    figures["importance"] = backend.plot_param_importances(
        study, evaluator=evaluator, target_name="validation accuracy"
    )
    figures["parallel"] = backend.plot_parallel_coordinate(study, params=order, target_name="accuracy, %")
    if len(order) > 1:
        figures["contour"] = backend.plot_contour(study, params=order[:MOST], target_name="accuracy, %")
    return figures


def _png(figure: Figure, path: Path) -> None:
    with whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120, bbox_inches="tight")


def _resized(name: str, figure: Figure) -> Figure:
    figure.set_size_inches(*{"contour": (14, 12), "parallel": (13, 5)}.get(name, (8, 5)))
    return figure


def write(study: Study, folder: Path) -> None:
    """Write NAME.png for each figure."""
    with warnings.catch_warnings(), matplotlib.rc_context({"figure.max_open_warning": 0}):
        warnings.simplefilter("ignore")  # optuna's own: its matplotlib figures are called experimental
        for name, drawn in draw(study, optuna.visualization.matplotlib).items():
            figure = drawn.figure if hasattr(drawn, "figure") else drawn.flat[0].figure
            _png(_resized(name, figure), folder / f"{name}.png")
            pyplot.close(figure)  # optuna draws with pyplot, which keeps every figure until it is told not to
