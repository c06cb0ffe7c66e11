"""What a study of orders found: orders.csv, orders.md and the figure, at equal stored bytes and at equal latency."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from optuna.study import Study
from optuna.trial import TrialState

from checks import require
from layers.network import network_bytes, write_text

from ..lab.evaluation.evaluate import accuracy
from ..lab.recipes.job import Job
from ..lab.reporting.canvas import canvas, save, styled
from ..lab.reporting.provenance import machine
from ..lab.reporting.style import GREY, line_style
from ..lab.reporting.tables import Table, markdown
from ..lab.runs.record import write_json
from .config import Sweep

STORED, TIME = "stored bytes / dense", "latency / dense"
LEVELS = {STORED: (0.5, 0.25, 0.125, 0.08), TIME: (0.8, 0.6, 0.5, 0.4)}  # at most so much of the dense network's


def frame(study: Study, dense_bytes: int, batch: int) -> pd.DataFrame:
    """Return a line for each list that was made: what it is, what it keeps, how right it is."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    rows: list[dict[str, Any]] = []
    for trial in complete:
        facts = dict(trial.user_attrs)
        facts |= {"val_top1": trial.value, STORED: facts["bytes"] / dense_bytes, TIME: facts[f"latency_{batch}"]}
        rows.append({key: value for key, value in facts.items() if key not in ("environment", "worker", "step")})
    return pd.DataFrame(rows).drop_duplicates("list").sort_values(["order", STORED], ignore_index=True)


def best(table: pd.DataFrame, order: str, measure: str, level: float) -> pd.Series | None:
    """Return, of an order's points that keep at most this, the one with the highest validation accuracy."""
    points = table[(table.order == order) & (table[measure] <= level)]
    return None if points.empty else points.loc[points.val_top1.idxmax()]


def at_levels(table: pd.DataFrame) -> Table:
    """Return test accuracies by order at equal bytes and at equal latency, of points that validation images choose."""
    levels = [(measure, level) for measure, values in LEVELS.items() for level in values]
    lines = []
    for order in dict.fromkeys(table.order):
        points = [best(table, order, measure, level) for measure, level in levels]
        lines.append([order, *("" if point is None else f"{point.top1:.2f}" for point in points)])
    words = {STORED: "bytes", TIME: "time"}
    return Table(["order", *(f"{words[measure]} <= {level:g}" for measure, level in levels)], lines)


@styled()
def draw(table: pd.DataFrame, dense: float, title: str) -> Figure:
    """Draw test accuracy against what is stored and against time: of each order the points that none of its beats."""
    figure, axes = canvas(2, (8.2, 3.8), share_y=True)
    for ax, measure in zip(axes, LEVELS):
        ax.axhline(dense, color=GREY, linewidth=1, linestyle=":", label=f"dense, {dense:.2f} %")
        for number, order in enumerate(dict.fromkeys(table.order)):
            points = table[table.order == order].sort_values(measure)
            front = points[points.val_top1 > points.val_top1.cummax().shift(fill_value=-1.0)]
            style = line_style(number)
            ax.plot(front[measure], front.top1, label=order, **style)
            ax.plot(points[measure], points.top1, linestyle="", alpha=0.3, **{**style, "linewidth": 0})
        ax.set_xlabel(measure)
        ax.xaxis.set_major_formatter(PercentFormatter(1, 0))
        ax.legend(loc="lower right")
    axes[0].set_ylabel("top-1 on the test images, %")
    figure.suptitle(title)
    return figure


def write(sweep: Sweep, job: Job, study: Study, folder: Path) -> None:
    """Write everything, each file whole; ValueError where no list could be made."""
    left_out = [trial.user_attrs["left out"] for trial in study.trials if "left out" in trial.user_attrs]
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    require(bool(complete), "compress", sweep.curves.compress, f"lists that can be made ({'; '.join(left_out[:1])})")
    dense_bytes = len(network_bytes(job.model))
    test, batch = job.dataset.test(), min(job.config.measurement.latency_batches)
    dense, table = accuracy(job.model, test, job.dataset, job.device).top1, frame(study, dense_bytes, batch)
    write_text(folder / "orders.csv", table.to_csv(index=False))
    environment = complete[0].user_attrs["environment"]
    facts = {"seed": sweep.training.seed, "environment": environment, "latency_batch": batch}
    write_json(folder / "orders.json", {**facts, "dense": {"top1": dense, "bytes": dense_bytes}})
    said = [
        f"{sweep.network.model} on {sweep.data.dataset}: top-1 of {len(test.labels):,} test images, dense {dense:.2f}."
        " Of each order the list of the highest validation accuracy that keeps at most so much of the dense network's "
        f"bytes on the disk, or of its time for {batch} image{'s' * (batch > 1)}, the two timed in turn.",
        f"{len(table)} lists, seed {sweep.training.seed}, {machine(environment)}.",
        *_sentences(left_out),
    ]
    write_text(folder / "orders.md", f"{markdown(at_levels(table))}\n" + "\n".join(said) + "\n")
    save(draw(table, dense, f"{sweep.network.model} on {sweep.data.dataset}: orders of steps"), folder / "orders")


def _sentences(left_out: Sequence[str]) -> list[str]:
    return [f"Left out: {len(left_out)}, the first since {left_out[0]}."] if left_out else []
