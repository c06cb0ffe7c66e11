"""Write the files, measure every cell, print one table, and say which promises are broken."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from checks import require
from layers import Plan
from layers.network import load_tensors, write_text

from ..lab.evaluation.calibration import Calibration, image_count
from ..lab.progress import Pace, log
from ..lab.recipes.job import Job, look_up
from ..lab.recipes.saved import configuration, read_network
from ..lab.reporting.tables import Table, markdown, print_table
from ..lab.reporting.units import BYTES, SECONDS, with_unit
from ..lab.runs import record
from . import files, measure, planned, promises
from .blame import blamed, blamed_in_float
from .cells import FLOAT, QUANTISED, Cell, cell_of, cells
from .config import Deploy

RESULTS, TABLE = "deploy.json", "table.md"
SHOWN = 64  # images by which a layer is blamed


def execute(options: Deploy, run: Path) -> int:
    """Return the exit code: 1 where a file breaks a promise; torch has so many threads, and no TF32, meanwhile."""
    before, tf32 = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    torch.set_num_threads(options.threads)
    torch.backends.cudnn.allow_tf32 = False  # float32 is float32; cudnn.flags would switch all of cuDNN off
    try:
        return _execute(options, run)
    finally:
        torch.set_num_threads(before)
        torch.backends.cudnn.allow_tf32 = tf32


def _execute(options: Deploy, run: Path) -> int:
    results = record.read_results(run)
    promised = {row["network"]: float(row["top1"]) for row in results["rows"]}
    unknown = sorted(set(options.networks) - set(promised))
    require(not unknown, "networks", ", ".join(unknown), f"of the run: {', '.join(promised)}")
    names = [name for name in promised if name == "dense" or not options.networks or name in options.networks]
    chosen, out = cells(options.runtimes, options.precisions, options.devices), options.out or run / "deploy"
    _check_folder(out, [*promised])
    job = look_up(configuration(run))
    load_tensors(job.model, run / "dense.safetensors")

    networks = {name: read_network(job, run, name).cpu().eval() for name in names}
    folders = {name: out / name for name in names}
    for name, network in networks.items():
        files.write(
            network, name, job, _calibration(job, network, chosen), chosen, folders[name], options.fold_batchnorm
        )
    rows = _rows(options, job, networks, folders, chosen)
    plans = {name: Plan.load(path) for name in names if (path := run / name / "plan.json").is_file()}
    shares, times = planned.file_shares(plans, folders), promises.times(job)
    broken = promises.broken(rows, promised, options.batches, options.tolerance)
    broken += promises.late(rows, times) + planned.larger(plans, shares)
    broken += _layers_to_blame(rows, promised, options, networks, folders, job)
    table, beside = _table(rows, options), planned.table(plans, shares, rows, promised, times)
    told = {
        "command": shlex.join(["python", "-m", "experiments.deploy", *sys.argv[1:]]),
        "environment": record.environment() | {"threads": options.threads},
        "rows": rows,
        "broken": broken,
    }
    record.write_json(out / RESULTS, told)
    write_text(out / TABLE, "\n".join(map(markdown, (table, beside) if beside.rows else (table,))))
    console = Console()
    threads = f"{options.threads} thread{'s' * (options.threads != 1)} of {record.processor()}"
    print_table(table, console, f"Latency: medians with all networks in turn; {threads}.")
    if beside.rows:
        print_table(beside, console, "\nWhat the plans promised.")
    told_where = f"{out}: the files, serve.py (python serve.py IMAGE) beside each, {TABLE}, {RESULTS}"
    console.print("", *broken or ["Every promise is kept."], told_where, sep="\n", markup=False, highlight=False)
    return 1 if broken else 0


def _check_folder(out: Path, names: Sequence[str]) -> None:
    """Refuse a folder that holds anything but what this verb writes into it: nothing of a user's is written over."""
    require(not out.is_file(), "out", str(out), "a folder, not a file")
    ours = {*names, RESULTS, TABLE}
    others = sorted(path.name for path in out.iterdir() if path.name not in ours) if out.is_dir() else []
    allowed = "a folder that is new, empty, or was written by deploy"
    require(not others, "out", f"{out} with {', '.join(others[:3])}", allowed)


def _calibration(job: Job, network: nn.Module, chosen: list[Cell]) -> Calibration | None:
    """Draw the images that 8-bit integers are calibrated with, as the run would."""
    if not any(cell.precision == "int8" for cell in chosen):
        return None
    asked, side = job.config.compression.calibration_images, job.example.shape[-1]
    count = image_count(asked, len(job.dataset.train().labels), side)
    return Calibration.draw(network, job.dataset, count, job.config.training.seed, "cpu")


def _rows(
    options: Deploy, job: Job, networks: dict[str, nn.Module], folders: dict[str, Path], chosen: list[Cell]
) -> list[dict[str, Any]]:
    """Measure every network in every cell."""
    most = max(options.batches)
    example = job.example[torch.arange(most) % len(job.example)]
    right = {name: measure.answers(network, job) for name, network in networks.items()}
    rows, pace = [], Pace(len(chosen))
    for number, cell in enumerate(chosen):
        log(f"{cell}: {pace(number)}")
        there = {name: folder for name, folder in folders.items() if (folder / cell.file).is_file()}
        last = measure.layouts(cell, there, example, options.threads)
        times = measure.timed(cell, there, example, options.batches, options.threads, last)
        for name, folder in there.items():
            wanted, labels = right[name]
            scores, _ = measure.answers(cell.start(folder, options.threads, last[name]), job, cell.device)
            row = {
                "network": name,
                **cell._asdict(),
                **measure.quality(scores, wanted, labels),
                **times[name],
                **measure.probed(cell, folder, most, example.shape[1:], options.threads, last[name]),
                "channels_last": last[name],
                "file_bytes": (folder / cell.file).stat().st_size,
            }
            rows.append(row)
    return rows


def _layers_to_blame(
    rows: list[dict[str, Any]],
    promised: dict[str, float],
    options: Deploy,
    networks: dict[str, nn.Module],
    folders: dict[str, Path],
    job: Job,
) -> list[str]:
    """Name the layer after which outputs err most: in 8-bit integers where too much is lost, in float32 by runtime."""
    sentences, images = [], job.example[:SHOWN]
    for name, folder in folders.items():
        if not (folder / FLOAT).is_file():
            continue
        own = [row for row in rows if row["network"] == name]
        if any(row["precision"] == "int8" and promised[name] - row["top1"] > options.tolerance for row in own):
            layer = blamed(folder / FLOAT, folder / QUANTISED, images)
            sentences += [f"{name} in int8: look at {layer}"] if layer is not None else []
        for row in own:
            if row["precision"] == "32" and row["deviation"] > promises.EXACT:
                layer = blamed_in_float(networks[name], folder / FLOAT, cell_of(row), images)
                sentences += [f"{name} in {cell_of(row)}: look at {layer}"] if layer is not None else []
    return sentences


def _table(rows: list[dict[str, Any]], options: Deploy) -> Table:
    """Return the table: a row for each network in each cell, times with their ratio to the dense network's there."""
    dense = {cell_of(row): row for row in rows if row["network"] == "dense"}
    times = [f"batch {n}" for n in options.batches]
    header = ["network", "runtime", "top-1, %", "same answers, %", *times, "memory", "file", "load"]
    cells = []
    for row in rows:
        other, shown = dense[cell_of(row)], []
        for n in options.batches:
            busy = row[f"latency_{n}_noisy"] or other[f"latency_{n}_noisy"]
            ratio = "busy" if busy else f"{row[f'latency_{n}'] / other[f'latency_{n}']:.2f}x"
            shown.append(f"{with_unit(row[f'latency_{n}'], SECONDS)}\n{ratio}")
        quality = [f"{row['top1']:.2f}", f"{row['agreement']:.2f}"]
        sizes = [with_unit(row[key], BYTES) for key in ("peak_memory", "file_bytes")]
        load = with_unit(row["load_seconds"], SECONDS)
        cells.append([row["network"], str(cell_of(row)), *quality, *shown, *sizes, load])
    return Table(header, cells, 2)
