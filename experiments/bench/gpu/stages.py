"""What takes seconds to minutes and is timed once: training a ResNet-18, and a ResNet-50 from calibration to refit."""

import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
import torchvision

from layers import Budget, calibrate, compress, make_plan, refit

from ...lab.config import Training
from ...lab.models import build
from ...lab.training.train import train
from ..training import LR, noise_images
from .cases import MULTIPLE
from .config import GpuBench

BATCH, SHOWN = 128, 32  # images of a step of training, of a batch that calibrates
KERNELS = ("svd", "spatial", "tucker")
PRECISIONS: tuple[dict[str, Any], ...] = ({}, {"precision": "bf16"}, {"precision": "bf16", "channels_last": True})


class Stage(NamedTuple):
    """Work that was done once: its seconds, and the most memory that was in use on a card."""

    work: str
    seconds: float
    memory: int | None


def trainings(bench: GpuBench) -> Iterator[Stage]:
    """Train a ResNet-18 for images of 32 pixels for some steps, start-up included, in each precision."""
    dataset = noise_images(bench.steps * BATCH)
    for options in PRECISIONS:
        config = Training(accelerator=bench.device, **options)
        network = build("resnet18", 10, 3, 32)

        def run(config: Training = config, network: torch.nn.Module = network) -> float:
            return train(network, dataset, config, epochs=1, lr=LR, batch_size=BATCH, seed=0)

        words = ", ".join(str(value) if key == "precision" else key for key, value in options.items()) or "float32"
        yield _timed(f"train resnet18 at 32 pixels, {bench.steps} steps of {BATCH} images, {words}", run)[0]


def pipeline(bench: GpuBench) -> Iterator[Stage]:
    """Calibrate, plan, compress and refit a ResNet-50 of random weights at half its multiply-accumulates."""
    torch.manual_seed(0)
    model = torchvision.models.resnet50().eval().to(bench.device)
    images = torch.randn(bench.calibration_images, 3, bench.size, bench.size, device=bench.device).split(SHOWN)
    of = f"resnet50 with {bench.calibration_images} images of {bench.size} pixels"
    first, stats = _timed(f"calibrate {of}", lambda: calibrate(model, images))
    yield first
    example = images[0][:1]
    budget, where = Budget(macs=0.5), {"example": example, "stats": stats, "rank_multiple": MULTIPLE}
    planned, plan = _timed(f"plan {of}, {', '.join(KERNELS)}", lambda: make_plan(model, budget, KERNELS, **where))
    yield planned
    built, small = _timed(f"compress {of}", lambda: compress(model, plan, stats=stats))
    yield built
    yield _timed(f"refit {of}", lambda: refit(small, model, images, stats=stats))[0]


def _timed(work: str, function: Callable[[], Any]) -> tuple[Stage, Any]:
    """Return what the function took, from and to an idle card, and what it returned."""
    card = torch.cuda.is_initialized()
    if card:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    result = function()
    if card:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - start
    return Stage(work, seconds, torch.cuda.max_memory_allocated() if card else None), result
