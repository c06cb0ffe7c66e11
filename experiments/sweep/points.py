"""Measure a sweep point by point; what is measured is on disk at once."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from torch import nn

from checks import require
from layers import Budget, Cost, cost
from layers.network import write_text

from ..lab.evaluation.calibration import Calibration, image_count
from ..lab.evaluation.evaluate import accuracy
from ..lab.progress import Pace
from ..lab.recipes.job import Job, job_of_trained_network
from ..lab.reporting.canvas import save
from ..lab.reporting.page import render
from ..lab.reporting.peers import peers
from ..lab.runs import record
from ..lab.runs.inputs import changes, inputs
from ..lab.steps.kernel import Kernel, predicted
from . import figure, page
from .config import Sweep

POINTS = "points.json"


class Point(NamedTuple):
    """One network: what was asked, what was kept, how right it is on the whole test set."""

    kernel: str
    selector: str
    refit: bool
    budget: str
    kept: float  # of the budget's metric
    params: int
    macs: int
    bytes: int
    top1: float
    top5: float
    loss: float
    predicted_rise: float | None  # of the loss, before any refit


def check(sweep: Sweep) -> tuple[Job, dict[tuple[str, str, float], Kernel]]:
    """Return the trained network and how each point is made; ValueError in one sentence for what is wrong."""
    curves = sweep.curves
    for name in ("kernel", "selector", "fractions"):
        values = getattr(curves, name)
        require(len(values) > 0 and len(set(values)) == len(values), name, values, "one or more distinct values")
    recipes = {}
    for kernel, selector in sweep.pairs:
        for fraction in curves.fractions:
            budget = Budget.parse(f"{curves.metric}={fraction}")
            step = Kernel.within(budget, kernel, selector, curves.layers)
            recipes[kernel, selector, fraction] = replace(step, refit=curves.refit and step.factors)
    return job_of_trained_network(sweep.run()), recipes


def execute(sweep: Sweep, log: Callable[[str], None]) -> Path:
    """Measure, write and draw; return the sweep's folder.

    A point out of a kernel's reach is logged and left out.  ValueError where measured points are of other files.
    """
    job, recipes = check(sweep)
    train = job.dataset.calibration()
    count = image_count(sweep.curves.calibration_images, len(train.labels), job.example.shape[-1])
    images = Calibration.draw(job.model, job.dataset, count, sweep.training.seed, job.device)
    folder = record.make_folder(sweep.output.out, sweep.name)
    known = {} if sweep.output.force else _read(folder / POINTS)
    if known:
        _check_inputs(sweep, folder)
    else:
        made = {"environment": record.environment(), "inputs": inputs(sweep.run())}
        record.write_json(folder / record.CONFIG, sweep.flat() | made)
    before = cost(job.model, job.example[:1].to(job.device))
    dense = known.get("dense") or _point(job, job.model, before)
    points, refusals = {"dense": dense}, []
    names = {form: " ".join(map(str, form)) for form in recipes}
    pace, done = Pace(sum(key not in known for key in names.values())), 0
    for (kernel, selector, fraction), recipe in recipes.items():
        key = names[kernel, selector, fraction]
        if key not in known:
            log(f"{kernel}, {selector}, {recipe.budget}: {pace(done)}")
            done += 1
            try:
                plan = recipe.plan(job.model, job.example, images.stats if recipe.images else None, job.hands)
            except ValueError as error:
                refusals.append(str(error))
                log(f"left out: {error}")
                continue
            small = recipe.build(job.model, plan, images)
            known[key] = _point(job, small, before, kernel, selector, recipe, predicted(plan))
        points[key] = known[key]
        record.write_json(folder / POINTS, {name: point._asdict() for name, point in {**known, **points}.items()})
    if len(points) == 1:
        if not (folder / POINTS).is_file():
            (folder / record.CONFIG).unlink()
            if not any(folder.iterdir()):
                folder.rmdir()
        raise ValueError(refusals[-1])
    table = pd.DataFrame(points.values())
    write_text(folder / "sweep.csv", table.to_csv(index=False))
    beside = peers(sweep.network.model, job.dataset.classes, sweep.curves.metric)
    tested = len(job.dataset.test().labels)
    save(figure.draw(table, beside, sweep, tested, count), folder / "sweep")
    facts = json.loads((folder / record.CONFIG).read_text(encoding="utf-8"))
    write_text(folder / "report.html", render(page.page(table, beside, sweep, facts, tested)))
    return folder


def _check_inputs(sweep: Sweep, folder: Path) -> None:
    """Refuse to go on with points that were measured of other weights, images or code."""
    path, points = folder / record.CONFIG, folder / POINTS
    made = json.loads(path.read_text(encoding="utf-8")).get("inputs") if path.is_file() else None
    others = changes(sweep.run(), made, points.stat().st_mtime)
    require(not others, f"points in {folder}", f"those of {', '.join(others)}", "of today's files: pass --force")


def _point(
    job: Job,
    model: nn.Module,
    before: Cost,
    kernel: str = "dense",
    selector: str = "",
    recipe: Kernel | None = None,
    rise: float | None = None,
) -> Point:
    """Measure a network; without more arguments it is the dense one."""
    costs = cost(model, job.example[:1].to(job.device))
    right = accuracy(model, job.dataset.test(), job.dataset, job.device)
    if recipe is None:
        return Point(kernel, selector, False, "", 1.0, *costs, *right, rise)
    kept = getattr(costs, recipe.budget.metric) / getattr(before, recipe.budget.metric)
    return Point(kernel, selector, recipe.refits, str(recipe.budget), kept, *costs, *right, rise)


def _read(path: Path) -> dict[str, Point]:
    """Read the points of a sweep that was killed; ValueError for what is none."""
    if not path.is_file():
        return {}
    try:
        return {name: Point(**point) for name, point in json.loads(path.read_text(encoding="utf-8")).items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"points must be as the sweep wrote them, got {path} ({error}): repeat with --force") from None
