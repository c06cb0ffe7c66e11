"""The page of a search for settings: the best ones, which of them matter, every trial, and the command to train so."""

import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
import plotly.graph_objects as go
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from plotly.colors import sample_colorscale

from ..lab.reporting.formats import copies
from ..lab.reporting.page import Block, Code, Grid, Page, Plot, Prose, Section
from ..lab.reporting.provenance import command_of, machine
from ..lab.reporting.tables import Table
from ..lab.reporting.units import counted, percent
from .config import Tune
from .figures import TITLES, draw

NOTES = {
    "history": "Each point is a trial; the line is the best so far.",
    "importance": "The share of the variance of the accuracy that each setting explains (fANOVA, Hutter et al. 2014).",
    "parallel": "A line per trial, from grey to orange with its accuracy; settings that matter most first.",
    "contour": "Validation accuracy over pairs of the settings that matter most.",
}
SCALE = [[0, "#9AA3B2"], [1, "#D55E00"]]  # both are seen on white and on near-black
ACCURACY = "validation, %"


def page(
    tune: Tune, study: Study, summary: str, best: FrozenTrial | None, again: str, environment: Mapping[str, Any]
) -> Page:
    """Return the page; summary: how many trials there are; again: the command that trains with the best settings."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # optuna's own: some of its figures are called experimental
        plots: dict[str, go.Figure] = draw(study, optuna.visualization)
    matter = _importances(study) if "importance" in plots else {}
    sections = []
    for name, plot in plots.items():
        figure = parallel(complete, list(matter)) if name == "parallel" else plot
        if name == "history":
            figure.update_xaxes(dtick=max(1, len(study.trials) // 10), title_text="trial")
        if name == "importance":  # with room for the numbers behind the bars
            figure.update_xaxes(range=[0, 1.2 * max(matter.values())], title_text="share of the variance")
            figure.update_yaxes(title_text=None)
        figure.update_layout(title=None, height={"contour": 900, "importance": 60 + 40 * len(matter)}.get(name, 420))
        alt = f"{TITLES[name]}: {NOTES[name]} {summary}."
        sections.append(Section(TITLES[name], [Plot(figure, alt, wide=name in ("parallel", "contour"))], NOTES[name]))
    if missing := [title for name, title in TITLES.items() if name not in plots]:
        why = "For want of complete trials that differ."
        sections.append(Section("Not drawn", [Prose(f"{title}.") for title in missing], why))
    sections.append(Section("Every trial", [trials_grid(study, best)]))
    commands: list[Block] = [Code(command_of("tune", tune), "the command")]
    if again:
        sections.append(Section("Train with the best settings", [Code(again, "the command with the best settings")]))
    sections.append(Section("Do it again", commands, f"{machine(environment)}."))
    title = f"{tune.network.model} on {tune.data.dataset}: {counted(len(study.trials), 'trial')} of training settings"
    if best is None:
        return Page(title, "No trial is complete.", [f"{summary}."], sections)
    headline = (
        f"Train with the settings of trial {best.number}: {best.value:.2f}\u00a0% of the validation images right."
    )
    settings = ", ".join(f"{name} {setting(value)}" for name, value in best.params.items())
    first = next(iter(matter), None)
    most = "" if first is None else f" {first} matters most: it explains {percent(matter[first])} of the differences."
    facts = [
        (f"{best.value:.2f}\u00a0%", "of the validation images, best trial"),
        (str(len(complete)), "complete trials"),
    ]
    return Page(title, headline, [f"{settings}.", f"{summary}.{most}"], sections, facts)


def setting(value: Any) -> str:
    """Write a setting's value.

    >>> setting(0.0017624596910132727), setting(64), setting("cosine")
    ('0.00176', '64', 'cosine')
    """
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _importances(study: Study) -> dict[str, float]:
    return get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=0))


def trials_grid(study: Study, best: FrozenTrial | None) -> Grid:
    """Return every trial that is over as a table: state, accuracy, settings."""
    over = [trial for trial in study.trials if trial.state.is_finished()]
    names = list(dict.fromkeys(name for trial in over for name in trial.params))
    rows, order = [], []
    for trial in over:
        value = trial.value if trial.state == TrialState.COMPLETE else None
        state = trial.state.name.lower()
        given = [trial.params.get(name) for name in names]
        rows.append(
            [str(trial.number), state, "" if value is None else f"{value:.2f}"]
            + ["" if x is None else setting(x) for x in given]
        )
        order.append([trial.number, state, value, *given])
    table = Table(["trial", "state", ACCURACY, *names], rows, 2)
    row = None if best is None else [trial.number for trial in over].index(best.number)
    return Grid(table, "Every trial and its settings", order, copies(table), best=row)


def parallel(complete: Sequence[FrozenTrial], names: Sequence[str]) -> go.Figure:
    """Draw a line per trial over axes of its accuracy and settings, each from its least to its largest value.

    Of plotly's own parallel coordinates the background stays white on dark pages.
    """
    axes = [ACCURACY, *names]
    columns = [[trial.value for trial in complete], *([trial.params.get(name) for trial in complete] for name in names)]
    places = [_places(column) for column in columns]
    figure = go.Figure()
    for number, trial in enumerate(complete):
        (colour,) = sample_colorscale(SCALE, [places[0][number] or 0.0])
        words = "<br>".join(f"{name} {setting(value)}" for name, value in trial.params.items())
        figure.add_scatter(
            x=axes,
            y=[column[number] for column in places],
            mode="lines+markers",
            connectgaps=True,
            line={"color": colour, "width": 2},
            marker={"color": colour, "size": 7},
            hovertemplate=f"<b>trial {trial.number}, {trial.value:.2f} %</b><br>{words}<extra></extra>",
            showlegend=False,
        )
    for name, column in zip(axes, columns):
        known = [value for value in column if value is not None]
        ends = sorted(set(known), key=str) if any(isinstance(value, str) for value in known) else sorted(known)
        for place, value, at in ((0, ends[0], "top"), (1, ends[-1], "bottom")):
            shift = -16 if at == "top" else 16
            figure.add_annotation(
                x=name, y=place, text=setting(value), showarrow=False, yshift=shift, font={"size": 11}
            )
    figure.update_yaxes(visible=False, range=[-0.12, 1.12])
    return figure.update_xaxes(type="category", categoryorder="array", categoryarray=axes)


def _places(column: Sequence[Any]) -> list[float | None]:
    """Return where each value lies between the least and the largest: words by alphabet, rates by their logarithm."""
    known = [value for value in column if value is not None]
    if any(isinstance(value, str) for value in known):
        words = sorted(set(map(str, known)))
        numbers = [None if value is None else float(words.index(str(value))) for value in column]
    else:
        logs = min(known) > 0 and max(known) > 20 * min(known)
        numbers = [None if value is None else math.log(value) if logs else float(value) for value in column]
    low, high = (pick(number for number in numbers if number is not None) for pick in (min, max))
    return [None if number is None else (number - low) / ((high - low) or 1.0) for number in numbers]
