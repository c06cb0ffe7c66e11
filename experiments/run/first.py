"""`python -m experiments.run.first`, which is `make run`: every kernel at a quarter of the work, in a minute."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from ..lab.command import door
from ..lab.config import Compression, Config, Data, Measurement, Network, Output, Tracking, Training
from ..lab.reporting.comparison import Comparison, ratio
from ..lab.reporting.page.verdict import verdict
from ..lab.reporting.style import wilson
from ..lab.reporting.tables import Table, print_table
from ..lab.steps.language import parse, row_name

BUDGET, EPOCHS, IMAGES, PLANNED = "macs=0.25", 2, 64, "planned"
KERNELS = ("auto", "cp", "spatial", "ht", "tucker", "svd")
WAYS = {"uniform": " selector=uniform refit=no", PLANNED: ""}
LEGEND = (
    "Every row keeps a quarter of the multiply-accumulates. Uniform: the same share of every layer; planned: ranks by "
    f"the predicted rise of the loss, then a refit, without labels; tuned: {EPOCHS} epochs of fine-tuning after that. "
    f"Costs are the planned networks' against dense, time that of {IMAGES} images. DCT, DST, Hartley and wavelets are "
    "not here: they store fewer numbers, but multiply as often."
)
NEXT = """
Next, with a network of your own (images in folders DIR/train/CLASS and DIR/test/CLASS):

    python -m experiments.run --model package.module:factory --checkpoint FILE --dataset folder --data-root DIR \\
        --max-epochs 0 --kernel auto --budget macs=0.5

or in Python: docs/start.md. What else it can do: python -m experiments --help, and make docs.
"""


@dataclass(frozen=True)
class First:
    """Compare all kernels on handwritten digits at a quarter of the multiply-accumulates, and say what to do next."""

    out: Path = Path("runs")
    """folder of the run folders"""
    epochs: int = 20
    """of the dense network"""


def steps(kernel: str, way: str) -> str:
    """Return the list of steps of a row: the kernel, then a little fine-tuning."""
    return f"{kernel} {BUDGET}{WAYS[way]}, finetune {EPOCHS}"


def config(first: First) -> Config:
    """Return the run: a row for each kernel, planned and not; the accuracy before fine-tuning is in its ladder."""
    lists = tuple(steps(kernel, way) for way in WAYS for kernel in KERNELS)
    network, data = Network("convnet"), Data(interpolation="none")
    training, measured = Training(max_epochs=first.epochs, lr=1e-2), Measurement(latency_batches=(IMAGES,))
    return Config(network, data, Compression(compress=lists), training, measured, Tracking(False), Output(first.out))


def act(first: First) -> None:
    """Make the run unless it is complete; print the verdict, the table and what to do next."""
    from ..lab.recipes import job
    from ..lab.runs import record
    from . import pipeline

    run = config(first)
    if not job.finished(run):
        pipeline.execute(job.prepare(run))
    folder = run.output.out / run.name
    present(record.read_results(folder), folder, Console())


def table(results: Mapping[str, Any]) -> Table:
    """Return a line for each kernel: top-1 as it is made and tuned, of either way, and what the planned one costs."""
    rows = {row["network"]: row for row in results["rows"]}
    dense = rows["dense"]
    lines = [["dense", *["", ""] * (len(WAYS) - 1), f"{dense['top1']:.2f}", "", "", "", ""]]
    for kernel in KERNELS:
        made = {way: rows[row_name(parse(steps(kernel, way)))] for way in WAYS}
        accuracies = [f"{rung['top1']:.2f}" for way in WAYS for rung in made[way]["ladder"][1:]]
        costs = [f"{ratio(made[PLANNED], dense, key) or 0:.0%}" for key in ("macs", "params")]
        time = ratio(made[PLANNED], dense, f"latency_{IMAGES}")
        lines.append([kernel, *accuracies, *costs, "busy" if time is None else f"{time:.2f}x"])
    heads = [f"{way},\n{state},\n%" for way in WAYS for state in ("as made", "tuned")]
    return Table(["kernel", *heads, "MACs", "params", "time"], lines)


def present(results: Mapping[str, Any], folder: Path, console: Console) -> None:
    """Print which network to ship and why, then the table, where the report lies, and what to do next."""
    judged, images = verdict(Comparison({folder.name: dict(results)})), results["test_images"]
    low, high = wilson(results["rows"][0]["top1"], images)
    console.print(Text(judged.headline, style="bold"))
    console.print(Text(" ".join(judged.sentences)), "", sep="\n")
    print_table(table(results), console)
    console.print(Text(f"\n{LEGEND} {images} test images: top-1 ± {(high - low) / 2:.1f}.", style="italic"))
    console.print(f"\nreport: {folder / 'report.html'}", soft_wrap=True, markup=False, highlight=False)
    console.print(NEXT, soft_wrap=True, markup=False, highlight=False)


main = door("run.first", First, act, resumes=True)

if __name__ == "__main__":
    sys.exit(main())
