"""Every layer compressed alone: is the rise of the loss that is foreseen for it the one that is measured?"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.text import Text

from layers.factored import Form
from layers.fitting import distance
from layers.network import write_text
from layers.planning import LayerForms

from ...lab.data.batches import Batches
from ...lab.evaluation.calibration import Calibration, drawn
from ...lab.progress import Pace
from ...lab.recipes.job import Job
from ...lab.reporting.tables import Table, markdown, print_table
from ...lab.steps.kernel import AUTO, Kernel
from .random_plans import plan_of

SHARE, FACTOR = 0.7, 1.5  # of its own cost that the layer keeps; what is near
BATCH = 50


class Alone(NamedTuple):
    """The rise of the loss of one layer compressed alone, foreseen and measured, in nats."""

    layer: str
    foreseen: float
    measured: float

    @property
    def near(self) -> bool:
        """Whether one is within a factor of 1.5 of the other."""
        return self.measured / FACTOR <= self.foreseen <= self.measured * FACTOR


def alone(job: Job, calibrating: int, held_out: int, seed: int, log: Callable[[str], None]) -> list[Alone]:
    """Compress each layer to 0.7 of its cost, by the form foreseen as the best, and measure without a refit.

    Measured is the Kullback-Leibler divergence from the dense network's answers, on training images that did not
    calibrate and are the same for every number of those that did.
    """
    train = job.dataset.train()
    order = np.random.default_rng(seed).permutation(drawn(len(train.labels), len(train.labels), seed))
    held, others = train.part(np.sort(order[:held_out])), train.part(np.sort(order[held_out:][:calibrating]))
    images, recipe = Calibration(job.model, others, job.dataset, seed, job.device), Kernel(AUTO, macs=1.0, refit=False)
    layers = recipe.survey(job.model, job.example, images.stats).layers
    tried = [x for x, _ in Batches(held, job.dataset, BATCH, workers=0, device=job.device)]
    chosen = {layer.name: form for layer in layers if (form := best(layer)) is not None}
    found, pace = [], Pace(len(chosen))
    for name, form in chosen.items():
        choice = [form if layer.name == name else layer.forms[-1] for layer in layers]
        small = recipe.build(job.model, plan_of(job, layers, choice), images)
        found.append(Alone(name, form.error, distance(small, job.model, tried, scores=True) / held_out))
        log(f"{name}, {pace(len(found))}: foreseen {found[-1].foreseen:.4g}, measured {found[-1].measured:.4g}")
    return found


def best(layer: LayerForms) -> Form | None:
    """Return the form of the least error that costs at most SHARE of the dense layer, None where there is none."""
    fitting = [form for form in layer.forms[:-1] if form.price <= SHARE * layer.forms[-1].price]
    return min(fitting, key=lambda form: form.error, default=None)


def show(measured: Mapping[int, Sequence[Alone]], conditions: str, out: Path | None) -> bool:
    """Print a column for each number of images, and write it as Markdown if asked to; whether nine of ten are near."""
    names = list(dict.fromkeys(row.layer for rows in measured.values() for row in rows))
    by_name = {count: {row.layer: row for row in rows} for count, rows in measured.items()}
    cells = [(name, *(_cell(rows.get(name)) for rows in by_name.values())) for name in names]
    near = {count: sum(row.near for row in rows) for count, rows in measured.items()}
    cells.append((f"within {FACTOR:g}", *(f"{n} of {len(measured[count])}" for count, n in near.items())))
    header = ("foreseen / measured, images", *(f"{count:,}" for count in measured))
    table = Table(header, cells)
    print_table(table, Console())
    Console().print(Text(conditions, style="italic"))
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_text(out, f"{markdown(table)}\n{conditions}\n")
    return all(10 * n >= 9 * len(measured[count]) for count, n in near.items())


def _cell(row: Alone | None) -> str:
    return "" if row is None else f"{row.foreseen:.3f} / {row.measured:.3f}"
