"""A network's .onnx files in float32 and in 8-bit integers: answers, bytes, seconds in each runtime."""

import importlib.util
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from checks import require
from layers import Budget, OnnxNetwork, Timing, compress, cost, export, export_int8, interleaved, make_plan, refit
from layers.costs import forward
from layers.network import evaluating

from ...lab.data import Dataset, Split, Stream
from ...lab.data.batches import Batches
from ...lab.evaluation.calibration import Calibration, image_count
from ...lab.recipes.job import Job
from .config import Int8Options

FLOAT = "float32"
RUNTIMES = ("onnxruntime", "openvino")


class Trial(NamedTuple):
    """One file in one runtime."""

    network: str
    file: str  # float32, or the method
    runtime: str
    images: int
    top1: float
    agreement: float  # percent of the answers of the same network's float32 file in onnxruntime
    macs: int
    bytes: int
    seconds: dict[int, Timing]  # by batch

    def times(self, other: "Trial", batch: int) -> float:
        """Return how many times as fast as another one."""
        return other.seconds[batch].median / self.seconds[batch].median


def installed() -> list[str]:
    """List the runtimes that are here."""
    return [name for name in RUNTIMES if importlib.util.find_spec(name) is not None]


def parts(job: Job, options: Int8Options) -> tuple[Split | Stream, Split | Stream]:
    """Return (calibration images, test images), of which none is in both."""
    test = job.dataset.test()
    if options.halves:
        places = np.arange(len(test.labels))
        return test.part(places[::2][: options.calibration_images]), test.part(places[1::2])
    train = job.dataset.train()
    count = image_count(options.calibration_images, len(train.labels), job.example.shape[-1])
    return Calibration.draw(job.model, job.dataset, count, options.seed, "cpu").split, test


def networks(job: Job, options: Int8Options, images: Calibration) -> Iterator[tuple[str, nn.Module]]:
    """Make the dense network, and the one that is compressed where a kernel is given."""
    yield "dense", job.model
    if options.kernel:
        budget = Budget.parse(options.budget)
        plan = make_plan(job.model, budget, options.kernel, "loss", example=job.example[:1], stats=images.stats)
        small = compress(job.model, plan, stats=images.stats)
        yield options.budget, refit(small, job.model, images.batches, stats=images.stats, seed=options.seed)


def trials(
    job: Job,
    options: Int8Options,
    calibrating: Split | Stream,
    test: Split | Stream,
    folder: Path,
    log: Callable[[str], None],
) -> list[Trial]:
    """Measure every file of every network; the files stay in the folder."""
    images = Calibration(job.model, calibrating, job.dataset, options.seed, "cpu")
    measured: list[Trial] = []
    for name, model in networks(job, options, images):
        files = {file: folder / f"{name}-{file}.onnx" for file in (FLOAT, *options.methods)}
        export(model, images.batches[0][0][:2], files[FLOAT])
        for method in options.methods:
            export_int8(model, images.batches, files[method], method, compensate=not options.nearest)
            log(f"{name}: {method} is made, {files[method].stat().st_size:,} bytes")
        macs, asked, want = cost(model, job.example[:1]).macs, [], None
        for runtime in installed():
            running = {file: OnnxNetwork(path, runtime, options.threads) for file, path in files.items()}
            for file, network in running.items():
                got, labels = answers(network, test, job.dataset)
                want = got if want is None else want
                top1, same = (100 * float((got == other).double().mean()) for other in (labels, want))
                size = files[file].stat().st_size
                asked.append(Trial(name, file, runtime, len(got), top1, same, macs, size, {}))
                log(f"{name}, {file} in {runtime}: top-1 {top1:.2f}, agreement {same:.2f}, {size:,} bytes")
        measured += asked
    return timed(measured, folder, job.example, options, log)


def answers(model: nn.Module, split: Split | Stream, dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Return the likeliest class of every image, and its label."""
    found = []
    with evaluating(model):
        for images, labels in Batches(split, dataset, 250):
            found.append(torch.stack([model(images).argmax(1), labels]))
    got, labels = torch.cat(found, 1)
    return got, labels


def timed(
    measured: Sequence[Trial], folder: Path, example: Tensor, options: Int8Options, log: Callable[[str], None]
) -> list[Trial]:
    """Time all files in all runtimes in turn, batch by batch."""
    running = [
        OnnxNetwork(folder / f"{trial.network}-{trial.file}.onnx", trial.runtime, options.threads) for trial in measured
    ]
    for batch in options.batches:
        x = example[torch.arange(batch) % len(example)].contiguous()
        calls = {str(number): forward(network, x) for number, network in enumerate(running)}
        seconds = interleaved(calls, options.rounds, warmup=3, seconds=120.0)
        for number, trial in enumerate(measured):
            trial.seconds[batch] = seconds[str(number)]
        log(f"{batch} images at once are timed")
    return list(measured)


def check(options: Int8Options) -> None:
    """Refuse numbers that are none, and methods and a budget that are unknown."""
    for name, least in (("calibration_images", 1), ("rounds", 2), ("threads", 1)):
        require(getattr(options, name) >= least, name.replace("_", " "), getattr(options, name), f"at least {least}")
    require(bool(options.batches) and min(options.batches) >= 1, "batches", options.batches, "of one image at least")
    Budget.parse(options.budget)
