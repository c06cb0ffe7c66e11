"""What the planner keeps of a trained network's accuracy without a gradient step, and how long it takes."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from torch import nn
from torchvision.transforms.v2.functional import rgb_to_grayscale

from layers import refit

from ...lab.data.dataset import IMAGENET
from ...lab.data.folders import classes_of, files, in_memory
from ...lab.data.preprocessing import cut_from_the_middle
from ...lab.evaluation.calibration import Calibration
from ...lab.evaluation.evaluate import Accuracy, accuracy
from ...lab.recipes.job import Job
from ...lab.steps.kernel import AUTO, Kernel

FRACTIONS = (0.70, 0.50, 0.35, 0.25)  # of the multiply-accumulates
ASKED = {  # top-1 on the whole test set of CIFAR-10 as JPEG, by the dense network's name
    "resnet20": {0.70: 88.2, 0.50: 87.6, 0.35: 86.6, 0.25: 84.5},
    "resnet56": {0.70: 89.6, 0.50: 89.4, 0.35: 88.8, 0.25: 87.6},
}
ASKED_SECONDS = {"resnet20": 15.0}  # of calibrate, plan and refit, on two cores


class Trial(NamedTuple):
    """One calibration seed at one budget; times in seconds, those of the calibration shared by its budgets."""

    seed: int
    fraction: float
    kept: float
    plain: Accuracy  # not refitted
    refitted: Accuracy
    calibrate: float
    plan: float
    compress: float
    refit: float

    @property
    def seconds(self) -> float:
        """Return the seconds from the trained network to the refitted one."""
        return self.calibrate + self.plan + self.compress + self.refit


def tested(job: Job, model: nn.Module) -> Accuracy:
    """Measure the accuracy on the whole test set."""
    return accuracy(model, job.dataset.test(), job.dataset, job.device)


def others(job: Job, root: Path) -> Calibration:
    """Calibrate with all images below CLASS/ of a folder, of whatever classes, resized to the network's size."""
    shown = cut_from_the_middle(*IMAGENET, job.example.shape[-1])
    split = in_memory(files(root, classes_of(root))._replace(preprocessing=shown))
    if job.dataset.channels == 1:
        split = split._replace(images=rgb_to_grayscale(split.images))
    return Calibration(job.model, split, job.dataset, 0, job.device)


def trials(job: Job, draws: Iterable[Calibration], log: Callable[[str], None]) -> list[Trial]:
    """Measure every budget with every draw of calibration images, before and after the refit."""
    measured = []
    for images in draws:
        batches = images.batches  # reading images from disk is not what is timed
        calibrating: list[float] = []
        with _clock(calibrating):
            stats = images.stats
        for fraction in FRACTIONS:
            recipe, times = Kernel(AUTO, macs=fraction, refit=False), [*calibrating]
            with _clock(times):
                plan = recipe.plan(job.model, job.example, stats)
            with _clock(times):
                small = recipe.build(job.model, plan, images)
            with _clock(times):
                better = refit(small, job.model, batches, stats=stats, seed=images.seed)
            kept = plan.after.macs / plan.before.macs
            last = Trial(images.seed, fraction, kept, tested(job, small), tested(job, better), *times)
            measured.append(last)
            tops = f"{last.refitted.top1:.2f}, {last.plain.top1:.2f} without refit"
            log(f"seed {images.seed}, macs={fraction:g}: {tops}, {last.seconds:.0f} s")
    return measured


@contextmanager
def _clock(times: list[float]) -> Iterator[None]:
    """Add the seconds that its block takes to the list."""
    start = time.perf_counter()
    yield
    times.append(time.perf_counter() - start)
