"""Compare a run's networks: accuracy, costs, latency and memory, in rows of results.json and the report."""

import sys
from collections.abc import Sequence

from rich.console import Console
from torch import nn

from layers import Plan, cost
from layers.costs import deflated, peak_memory

from ..lab.config import Config
from ..lab.recipes.evaluate import accuracy, latencies
from ..lab.recipes.job import Job
from ..lab.recipes.recipe import Recipe
from ..lab.recipes.treatment import widths_of_layers, zeros_of_layers
from ..lab.reporting import run_report as report
from ..lab.reporting.seeds import seeds_table
from ..lab.reporting.tables import print_table
from ..lab.runs import record
from ..lab.runs.history import seconds
from ..lab.runs.inputs import changes
from ..lab.runs.stages import Accuracies, Stages
from ..lab.runs.tracking import Tracker

TIMES = {"": "median", "_low": "low", "_high": "high", "_noisy": "busy"}


def measure(
    job: Job,
    models: dict[str, nn.Module],
    plans: dict[str, Plan],
    accuracies: dict[str, Accuracies],
    tracker: Tracker,
) -> None:
    """Compare the networks and write the report."""
    test, rows = job.dataset.test(), []
    example, sizes = job.example.to(job.device), sorted(job.config.measurement.latency_batches)
    treated = any(recipe.treatment for recipe in job.recipes.values())  # then the bytes of all tensors say little
    timing = latencies(models, example, sizes)
    for name, model in models.items():
        costs = cost(model, example[:1])
        rows.append(
            {
                "network": name,
                **_origin(job.recipes.get(name)),
                **accuracy(model, test, job.dataset, job.device)._asdict(),
                "top1_before": accuracies[name].before,
                "val_top1": accuracies[name].val,
                **costs._asdict(),
                **({"file_bytes": _file_bytes(job, name), "deflated": deflated(model)} if treated else {}),
                **{f"latency_{n}{end}": getattr(timing[n][name], key) for n in sizes for end, key in TIMES.items()},
                "peak_memory": peak_memory(model, example),
                "training_seconds": seconds(job.folder, name),
            }
        )
        tracker.row(rows[-1])
    results = {
        "version": record.VERSION,
        "config": job.config.flat(),
        "environment": record.environment(),
        "inputs": Stages(job.folder).inputs() or {},
        "test_images": len(test.labels),
        "classes": len(job.dataset.classes),
        "preprocessing": job.dataset.preprocessing.record(),
        "latency_batches": sizes,
        "rows": rows,
    }
    words = {name: recipe.words(job.calibration_images) for name, recipe in job.recipes.items()}
    texts = {}
    for name, plan in plans.items():
        zeros = zeros_of_layers(models[name]) if job.recipes[name].treatment else ""
        parts = (words[name], widths_of_layers(job.model, plan.widths), str(plan) if plan.layers else "", zeros)
        texts[name] = "\n\n".join(filter(None, parts))
    report.write(results, texts, job.folder)
    record.write_json(job.folder / record.COMPLETE, results)
    tracker.files("report.html", "results.csv", record.COMPLETE)
    for name in plans:
        tracker.files(f"{name}/plan.json", network=name)
    Stages(job.folder).end()


def _file_bytes(job: Job, name: str) -> int:
    """Return the size on the disk of the file that holds the network's weights."""
    path = job.folder / ("dense.safetensors" if name == "dense" else f"{name}/model.safetensors")
    return path.stat().st_size


def _origin(recipe: Recipe | None) -> dict[str, object]:
    """Return what a reader needs to see that the networks of a table were made alike."""
    planned = recipe is not None and bool(recipe.kernels)
    if recipe is None or not planned:
        return {"budget": "", "selector": "", "refit": False}
    return {"budget": recipe.goal, "selector": recipe.selector, "refit": recipe.refit}


def present(config: Config) -> None:
    """Print the table of a complete run and where its report lies, and say where it is of earlier files."""
    folder = config.output.out / config.name
    results = record.read_results(folder)
    report.show(results, folder)
    if earlier := changes(config, results.get("inputs"), (folder / record.COMPLETE).stat().st_mtime):
        sys.stderr.write(f"these results are of {', and of '.join(earlier)}: repeat them with --force\n")


def present_seeds(configs: Sequence[Config]) -> None:
    """Print one table of complete runs that differ in their seeds: means and standard deviations."""
    runs = {config.training.seed: record.read_results(config.output.out / config.name) for config in configs}
    console, table = Console(), seeds_table(runs)
    console.print()
    print_table(table, console, f"mean ± standard deviation over seeds {', '.join(map(str, runs))}")
