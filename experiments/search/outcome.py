"""What a search found, in the study's folder: tables, figure, page, and the best network of each budget."""

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
from optuna.study import Study
from optuna.trial import TrialState

from checks import require
from layers import Plan, save
from layers.network import write_text

from ..lab.reporting.canvas import save as save_figure
from ..lab.reporting.page import render
from ..lab.reporting.page.chance import packed
from ..lab.reporting.tables import Table
from ..lab.reporting.units import counted
from ..lab.runs import record
from ..lab.steps.kernel import Kernel
from . import figure, page, tables
from .config import Search
from .gain import Gain, compare, dense, words
from .tables import KEPT
from .trial import Site, fingerprint

RESULTS = "found.json"


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process of this machine in at a time."""
    with (folder / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write(
    search: Search, site: Site, recipes: Mapping[str, Kernel], studies: dict[str, Study], folder: Path
) -> dict[str, Any]:
    """Write everything, or leave it if the studies are as when it was written; return what is in found.json."""
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    counts = {budget: len(study.get_trials(deepcopy=False, states=states)) for budget, study in studies.items()}
    results = _read(folder)
    if results.get("trials") == counts:
        return results
    complete = {budget: study.get_trials(deepcopy=False, states=states[:1]) for budget, study in studies.items()}
    require(all(complete.values()), "trials", counts, "complete, one of each budget at least, not all given up")
    first, judged = dense(site.job)
    rows, right, gains = [first], {page.called(first): packed(judged.first)}, list[Gain]()
    for budget, recipe in recipes.items():
        loss, best, gain = compare(site, recipe, studies[budget].best_trial)
        save(best.network, best.plan, folder / budget)
        write_text(folder / budget / "layers.csv", best.plan.to_frame().to_csv())
        rows, gains = [*rows, loss.row, best.row], [*gains, gain]
        right |= {page.called(made.row): packed(made.test.first) for made in (loss, best)}
    images = (len(site.job.dataset.val().labels), len(site.job.dataset.test().labels))
    said = []
    for gain in gains:
        both = {row.plan: row for row in rows if row.budget == gain.budget}
        said.append(words(gain, both, counts[gain.budget], images))
    how_made = {"config": search.flat(fingerprint(site.job.model)), "environment": record.environment()}
    trials = tables.trials(studies, site.survey.before)
    shown = {
        "comparison": pd.DataFrame(rows),
        "front": tables.front(trials),
        "best": tables.best(trials, first.val_top1),
    }
    plans = {row.budget: Plan.load(folder / row.budget / "plan.json") for row in rows[1:]}
    found = page.Found(rows, right, images[1], said, trials, shown, plans, how_made["environment"])
    _show(search, found, folder)
    results = {"rows": [row._asdict() for row in rows], "gains": [gain._asdict() for gain in gains]}
    results = {"trials": counts, "said": said, "test_images": images[1], "right": right} | results | how_made
    record.write_json(folder / RESULTS, results)
    return results


def _show(search: Search, found: page.Found, folder: Path) -> None:
    """Write tables, figure and page."""
    for name, frame in {"trials": found.trials, **found.tables}.items():
        write_text(folder / f"{name}.csv", frame.to_csv(index=False))
    trials, plans = counted(len(found.trials), "trial"), counted(found.trials.plan.nunique(), "plan")
    epochs = counted(search.trials.epochs, "epoch")
    title = f"{search.network.model} on {search.data.dataset}: {trials} of {plans}, {epochs} each"
    save_figure(figure.draw(found.trials, found.rows[0].val_top1, title), folder / "search")
    words = {name: percentages(frame) for name, frame in found.tables.items()}
    write_text(folder / "report.html", render(page.page(search, found._replace(tables=words), folder.name, title)))


def _read(folder: Path) -> dict[str, Any]:
    path = folder / RESULTS
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def percentages(table: pd.DataFrame) -> pd.DataFrame:
    """Write, for readers, fractions kept in percent and accuracies with two digits."""
    formats = dict.fromkeys(KEPT, "{:.1%}") | dict.fromkeys(("val_top1", "test_top1"), "{:.2f}")
    formats |= dict.fromkeys(("val_loss", "test_loss"), "{:.4f}") | dict.fromkeys(("trial",), "{:.0f}")
    formats |= dict.fromkeys(("params", "macs", "bytes"), "{:,}")
    columns = {
        name: [form.format(value) if pd.notna(value) else "" for value in table[name]]
        for name, form in formats.items()
        if name in table
    }
    blank = {name: table[name].fillna("") for name in table if name not in columns and table[name].dtype != float}
    return table.assign(**columns, **blank)


def comparison(results: dict[str, Any]) -> Table:
    """Return the networks of the search beside the dense one, for readers."""
    rows = percentages(pd.DataFrame(results["rows"]))
    names = {"budget": "budget", "plan": "plan", "trial": "trial", "params": "parameters", "macs": "MACs"}
    names |= {"val_top1": "validation, %", "test_top1": "test top-1, %"}
    return Table([*names.values()], [list(map(str, row)) for row in rows[[*names]].to_numpy()], 2)
