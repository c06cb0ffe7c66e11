"""What a run promises of its networks, and which files break it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..lab.recipes.job import Job
from ..lab.recipes.rows import kernel_in
from .cells import Cell, cell_of

EXACT = 1e-3  # largest deviation of scores in float32, of the largest score: rounding of another order of sums
OVER = 0.06  # of the time promised, by which a file may miss it: another process, other neighbours
Row = Mapping[str, Any]


class Time(NamedTuple):
    """What part of the dense network's time a plan promises, where and for how many images at once."""

    runtime: str
    precision: str
    batch: int
    share: float

    @property
    def cell(self) -> Cell:
        """Return where it is promised."""
        return Cell(self.runtime, self.precision)


def times(job: Job) -> dict[str, Time]:
    """Return network -> what its budget of latency promises, for each that has one."""
    batch = max(job.config.measurement.latency_batches)
    kernels = {name: kernel_in(steps) for name, steps in job.rows.items()}
    timed = {name: step for name, step in kernels.items() if step is not None and step.budget.metric == "latency"}
    return {name: Time(step.runtime, step.precision, batch, step.budget.fraction) for name, step in timed.items()}


def late(rows: Sequence[Row], promised: Mapping[str, Time]) -> list[str]:
    """Return a sentence for each file that takes more than its plan promised, quartiles leaving no doubt."""
    dense = {cell_of(row): row for row in rows if row["network"] == "dense"}
    sentences = []
    for row in rows:
        time = promised.get(row["network"])
        if time is None or cell_of(row) != time.cell or f"latency_{time.batch}" not in row:
            continue
        other, key = dense[time.cell], f"latency_{time.batch}"
        noisy = row[f"{key}_noisy"] or other[f"{key}_noisy"]
        if not noisy and row[f"{key}_low"] > (1 + OVER) * time.share * other[f"{key}_high"]:
            who = f"{row['network']} in {cell_of(row)}"
            words = f"{row[key] / other[key]:.2f} of dense's time there, {time.batch} images at once"
            sentences.append(f"{who}: {words}, where its plan promised {time.share:g}")
    return sentences


def broken(rows: Sequence[Row], promised: Mapping[str, float], batches: Sequence[int], tolerance: float) -> list[str]:
    """Return a sentence for each promise that a file breaks.

    Args:
        rows: of the table: network, runtime, precision, and what was measured.
        promised: network -> the top-1 that the run measured.
        batches: of which latencies are promised: none slower than the dense network's in the same cell, where the
            quartiles of both leave no doubt and the machine was not busy.
        tolerance: points of top-1 that may be lost.
    """
    dense = {cell_of(row): row for row in rows if row["network"] == "dense"}
    sentences = []
    for row in rows:
        who = f"{row['network']} in {cell_of(row)}"
        lost = promised[row["network"]] - row["top1"]
        if lost > tolerance:
            sentences.append(f"{who}: {row['top1']:.2f} % right, {lost:.2f} points below what the run measured")
        if row["precision"] == "32" and row["deviation"] > EXACT:
            sentences.append(f"{who}: scores differ from torch's by {row['deviation']:.1%} of the largest")
        other = dense[cell_of(row)]
        for batch in batches if row["network"] != "dense" else ():
            key = f"latency_{batch}"
            noisy = row[f"{key}_noisy"] or other[f"{key}_noisy"]
            if not noisy and row[f"{key}_low"] > other[f"{key}_high"]:
                ratio = row[key] / other[key]
                sentences.append(f"{who}: {ratio:.2f} times as slow as dense there, {batch} images at once")
    return sentences
