"""What a file does in its runtime: its answers on the test images, its time beside the dense network's, its size."""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from checks import require
from layers.network import evaluating

from ..lab.data.batches import Batches
from ..lab.evaluation.evaluate import columns, latencies
from ..lab.progress import tracked
from ..lab.recipes.job import Job
from .cells import Cell

AT_ONCE = 64  # images, to answer for all test images
ROUNDS = 7  # by which a layout is chosen


def answers(network: nn.Module, job: Job, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Return the scores (n, classes) of all test images, and the labels (n,), on the CPU."""
    scores, truth = [], []
    with evaluating(network):
        for images, labels in tracked(Batches(job.dataset.test(), job.dataset, AT_ONCE), "answer, batch"):
            scores.append(network(images.to(device)).float().cpu())
            truth.append(labels)
    return torch.cat(scores), torch.cat(truth)


def quality(scores: Tensor, wanted: Tensor, labels: Tensor) -> dict[str, float]:
    """Compare answers with the labels, and with those of the network in torch's float32.

    agreement: percent of images with the same likeliest class.  deviation: the largest difference of two scores, in
    units of the largest score.  A network that is a file already, of step int8, is compared with itself in onnxruntime.
    """
    first = scores.argmax(1)
    return {
        "top1": 100 * float((first == labels).double().mean()),
        "loss": float(cross_entropy(scores, labels)),
        "agreement": 100 * float((first == wanted.argmax(1)).double().mean()),
        "deviation": float((scores - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12)),
    }


def layouts(cell: Cell, folders: Mapping[str, Path], example: Tensor, threads: int) -> dict[str, bool]:
    """Return network -> whether torch runs its file faster in channels_last, measured side by side."""
    if not cell.runtime.startswith("torch") or example.ndim != 4:
        return dict.fromkeys(folders, False)
    chosen = {}
    for name, folder in folders.items():
        both = {str(last): cell.start(folder, threads, last) for last in (False, True)}
        (times,) = latencies(both, example.to(cell.device), [len(example)], rounds=ROUNDS).values()
        chosen[name] = times["True"].median < times["False"].median
    return chosen


def timed(
    cell: Cell,
    folders: Mapping[str, Path],
    example: Tensor,
    batches: Sequence[int],
    threads: int,
    last: dict[str, bool],
) -> dict[str, dict[str, Any]]:
    """Return network -> latencies of its file in one cell, all networks in turn; last: what `layouts` chose."""
    networks = {name: cell.start(folder, threads, last[name]) for name, folder in folders.items()}
    timing = latencies(networks, example.to(cell.device), sorted(batches))
    return {name: columns(timing, name) for name in networks}


def probed(
    cell: Cell, folder: Path, batch: int, shape: Sequence[int], threads: int, channels_last: bool
) -> dict[str, float]:
    """Return seconds to load and peak memory, of a process of its own."""
    words = [str(folder), *cell, str(threads), str(batch), "x".join(map(str, shape)), str(int(channels_last))]
    command = [sys.executable, "-m", "experiments.deploy.probe", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    require(done.returncode == 0, f"{folder / cell.file}", last, f"a file that {cell} runs in a process of its own")
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result
