"""Compare a run's networks: accuracy, costs, latency and memory, in rows of results.json and the report."""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import Tensor, nn

from layers import Plan, export
from layers.checkpoint import OnnxNetwork
from layers.costs import Scale, file_memory, peak_memory, scale, score
from layers.network import copy_of

from ..lab.config import Config
from ..lab.evaluation.evaluate import Accuracy, columns, judge, latencies
from ..lab.recipes import evidence
from ..lab.recipes.job import Job
from ..lab.recipes.ladder import Ladder, Rung, measured
from ..lab.recipes.rows import kernel_in, said
from ..lab.reporting import run_report as report
from ..lab.reporting.comparison import MANY
from ..lab.reporting.page.chance import packed
from ..lab.reporting.seeds import seeds_table
from ..lab.reporting.tables import print_table
from ..lab.runs import record
from ..lab.runs.history import read as read_history, seconds
from ..lab.runs.inputs import changes
from ..lab.runs.stages import Stages
from ..lab.runs.tracking import Tracker
from ..lab.steps.bits import Bits
from ..lab.steps.kernel import Kernel
from ..lab.steps.language import step_name
from ..lab.steps.state import State, Steps, stored
from .ladder import print_ladders
from .texts import widths_of_layers, zeros_of_layers

FLOAT = "float32_onnx"  # the network that 8-bit integers were made of, in the same runtime
WORDS = {"half": (16, 16), "bf16": (16, 16), "int8": (8, 8), "binary": (1, 32)}  # bits of weights and of activations


def measure(job: Job, models: dict[str, nn.Module], tracker: Tracker) -> None:
    """Compare the networks and write the report."""
    test, kept, rows = job.dataset.test(), Stages(job.folder), []
    right: dict[str, str] = {}  # network -> which of the test images: what a paired test of two networks needs
    accuracies, ladders = kept.finished(), {name: Ladder.of_row(job, kept, name) for name in job.rows}
    example, sizes = job.example.to(job.device), sorted(job.config.measurement.latency_batches)
    between = {form: ladder.read(n).network() for ladder in ladders.values() for n, form in ladder.between().items()}
    floats = {f"{n}/{FLOAT}": _in_float(ladders[n], example) for n in models if isinstance(models[n], OnnxNetwork)}
    timing = latencies({**models, **between, **floats}, example, sizes)

    start = None
    if ladders:
        start, right["dense"] = measured(job, State.of(job.workshop()), "dense", _file_bytes(job, "dense"), 0.0)
    for name, model in models.items():
        ladder, beside = ladders.get(name), f"{name}/{FLOAT}"
        rungs = [] if ladder is None or start is None else [start, *ladder.rungs()]
        last = rungs[-1] if rungs else start if name == "dense" else None
        if last is None:
            judged = judge(model, test, job.dataset, job.device)
            shown, right[name] = Accuracy.of(judged), packed(judged.first)
        else:
            shown = Accuracy(*(getattr(last, key) for key in Accuracy._fields))
        if ladder is not None:
            right[name] = ladder.right()
        counts = scale(model, example[:1], size=_file_bytes(job, name)) if last is None else last
        row = {
            "network": name,
            **_origin(job.rows.get(name, ())),
            **shown._asdict(),
            "top1_before": accuracies[name].before,
            "val_top1": accuracies[name].val,
            **{key: getattr(counts, key) for key in Scale._fields},
            **(_score(rungs, job.rows[name]) if rungs else {}),
            **columns(timing, name),
            **({FLOAT: columns(timing, beside)} if beside in floats else {}),
            "peak_memory": _memory(model, example),
            "training_seconds": seconds(job.folder, name),
        }
        tracker.row(row)
        if ladder is not None:
            row["ladder"] = [{**rung._asdict(), **columns(timing, form)} for rung, form in zip(rungs, ladder.forms())]
            row["ladder"] = with_refits(row["ladder"], job.rows[name], evidence.read(job.folder).get(name, {}))
        rows.append(row)
    results = {
        **_circumstances(job),
        "inputs": kept.inputs() or {},
        "test_images": len(test.labels),
        "latency_batches": sizes,
        "rows": rows,
        "right": right,
    }
    networks = [row for row in rows if row["network"] in job.rows]
    made = {row["network"]: _made(job, row, models[row["network"]], sizes) for row in networks}
    report.write(results, made, read_history(job.folder), job.folder)
    record.write_json(job.folder / record.COMPLETE, results)
    tracker.files("report.html", "results.csv", record.COMPLETE)
    for name in job.rows:
        tracker.files(f"{name}/plan.json", network=name)
    kept.end()


def _circumstances(job: Job) -> dict[str, Any]:
    """Return what a reader needs to judge or repeat the run, and what the classes are called."""
    classes = job.dataset.classes
    return {
        "version": record.VERSION,
        "config": job.config.flat(),
        "environment": record.environment(),
        "classes": len(classes),
        **({"class_names": list(classes)} if len(classes) <= MANY else {}),
        "preprocessing": job.dataset.preprocessing.record(),
    }


def with_refits(rungs: list[dict[str, Any]], steps: Steps, known: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rungs, dense first, and beside that of a refitted kernel what the network was before the refit."""
    unfitted = known.get("unfitted_top1")
    refitted = [isinstance(step, Kernel) and step.refits and unfitted is not None for step in (None, *steps)]
    return [{**rung, "unfitted_top1": unfitted} if here else rung for rung, here in zip(rungs, refitted)]


def _made(job: Job, row: dict[str, Any], model: nn.Module, sizes: Sequence[int]) -> report.Made:
    """Say how a row was made, and what became of each layer."""
    name = row["network"]
    plan = Plan.load(job.folder / name / "plan.json")
    told = "numbers and operations in 32-bit words, added up, lower is better"
    first = "by the formula that takes some shares off twice"
    scored = f"score {row['score']:.4g} ({told}), {row['score_doubled']:.4g} {first}"
    texts = widths_of_layers(job.model, plan.widths), zeros_of_layers(model), beside_float(row, sizes), scored
    known = evidence.read(job.folder).get(name, {})
    return report.Made(said(job.rows[name], job.calibration_images), tuple(filter(None, texts)), plan, known)


def _in_float(ladder: Ladder, example: Tensor) -> OnnxNetwork:
    """Return the network before its last step as an .onnx file, in the runtime of that step's file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "float32.onnx"
        export(copy_of(ladder.read(len(ladder.steps) - 1).plain()).cpu(), example[:2].cpu(), path)
        return OnnxNetwork(path.read_bytes(), threads=torch.get_num_threads())


def _memory(model: nn.Module, x: Tensor) -> int:
    """Return the bytes that a forward pass of x takes, by what runs it."""
    return file_memory(model.content, x) if isinstance(model, OnnxNetwork) else peak_memory(model, x)


def beside_float(row: Mapping[str, Any], sizes: Sequence[int]) -> str:
    """Say how fast a network of 8-bit integers is beside the same .onnx in float32; nothing of other networks."""
    if FLOAT not in row:
        return ""
    ratios = [f"{row[FLOAT][f'latency_{n}'] / row[f'latency_{n}']:.2f} at {n}" for n in sizes]
    return f"times as fast as the same .onnx in float32, by images at once: {', '.join(ratios)}"


def _file_bytes(job: Job, name: str) -> int:
    """Return the size on the disk of the file that holds the network's weights."""
    alone = name == "dense" or name in job.scratch
    return (job.folder / f"{name}.safetensors").stat().st_size if alone else stored(job.folder / name)


def _score(rungs: Sequence[Rung], steps: Steps) -> dict[str, float]:
    """Return the network's score and the value that its formula first had, which takes some shares off twice."""
    dense, small = (Scale(*(getattr(rung, key) for key in Scale._fields)) for rung in (rungs[0], rungs[-1]))
    bits = [(step.width, 32) if isinstance(step, Bits) else WORDS.get(step_name(step), (32, 32)) for step in steps]
    right, doubled = score(small, dense, *(min(column) for column in zip(*bits)))
    return {"score": right, "score_doubled": doubled}


def _origin(steps: Steps) -> dict[str, object]:
    """Return what a reader needs to see that the networks of a table were made alike."""
    kernel = kernel_in(steps)
    if kernel is None:
        return {"budget": "", "selector": "", "refit": False}
    return {"budget": str(kernel.budget), "selector": kernel.selector, "refit": kernel.refits}


def present(config: Config) -> None:
    """Print the table of a complete run and where its report lies, and say where it is of earlier files."""
    folder = config.output.out / config.name
    results = record.read_results(folder)
    report.show(results, folder)
    print_ladders(results, Console())
    if earlier := changes(config, results.get("inputs"), (folder / record.COMPLETE).stat().st_mtime):
        sys.stderr.write(f"these results are of {', and of '.join(earlier)}: repeat them with --force\n")


def present_seeds(configs: Sequence[Config]) -> None:
    """Print one table of complete runs that differ in their seeds: means and standard deviations."""
    runs = {config.training.seed: record.read_results(config.output.out / config.name) for config in configs}
    console, table = Console(), seeds_table(runs)
    console.print()
    print_table(table, console, f"mean ± standard deviation over seeds {', '.join(map(str, runs))}")
