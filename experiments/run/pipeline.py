"""The stages of a run: the dense network, each kernel's, trained, compressed and fine-tuned, and what they measure."""

from contextlib import nullcontext
from pathlib import Path

from rich.console import Console
from safetensors import SafetensorError
from torch import nn

from layers import Plan, Thin, load, load_frequency_layers, save, save_frequency_layers
from layers.fitting import NO_ROOM
from layers.network import load_tensors, write_tensors

from ..lab.recipes.calibration import Calibration
from ..lab.recipes.evaluate import accuracy
from ..lab.recipes.fit import _fit
from ..lab.recipes.job import Job, finished
from ..lab.recipes.recipe import Recipe, from_dense
from ..lab.runs import record
from ..lab.runs.history import History
from ..lab.runs.inputs import changes, inputs
from ..lab.runs.lock import alone
from ..lab.runs.stages import Accuracies, Stages
from ..lab.runs.tracking import Tracker
from ..lab.training.batchnorm import statistics
from ..lab.training.distributed import agreed, processes, rank
from .measure import measure


def _dense(job: Job, stages: Stages, finished: bool, tracker: Tracker) -> None:
    """Leave the trained network in the job and in dense.safetensors."""
    path = job.folder / "dense.safetensors"
    if not finished:
        val = _fit(job, "dense", job.model, stages, [History(job.folder, "dense", tracker)])
        if rank() == 0:
            write_tensors(job.model, path)
            stages.finish("dense", Accuracies(val))
    agreed(None)
    load_tensors(job.model, path)


def _from_scratch(job: Job, stages: Stages, kernel: str, finished: bool, tracker: Tracker) -> nn.Module:
    """The trained network of frequency layers, also in KERNEL.safetensors."""
    path = job.folder / f"{kernel}.safetensors"
    if not finished:
        val = _fit(job, kernel, job.scratch[kernel], stages, [History(job.folder, kernel, tracker)])
        if rank() == 0:
            save_frequency_layers(job.scratch[kernel], kernel, job.config.compression.layers, path)
            stages.finish(kernel, Accuracies(val))
    agreed(None)
    return load_frequency_layers(path, job.model)


def _compressed(
    job: Job, stages: Stages, kernel: str, thin: Thin, images: Calibration | None, finished: bool, tracker: Tracker
) -> tuple[nn.Module, Plan]:
    """The compressed, fine-tuned network and its plan, both also in the kernel's folder.

    It is read back before it is fine-tuned: a run that was killed and one that was not go on from the same bits in the
    same memory layout.
    """
    folder, start, treatment = job.folder / kernel, stages.start(kernel), job.recipes[kernel].treatment
    if not finished:
        if agreed(not start.exists()):
            _start(job, job.recipes[kernel], thin, images, start)
        agreed(None)
        plan, model = Plan.load(start / "plan.json"), treatment.begin(load(start, job.model))
        before = _top1(job, model) if job.finetune_epochs and rank() == 0 else None
        val = _fit(job, kernel, model, stages, [History(job.folder, kernel, tracker)])
        if rank() == 0:
            save(treatment.end(model), plan, folder, preprocessing=job.dataset.preprocessing.record())
            stages.finish(kernel, Accuracies(val, before))
    agreed(None)
    return treatment.read(load(folder, job.model)), Plan.load(folder / "plan.json")


def _top1(job: Job, model: nn.Module) -> float:
    """Return the accuracy on the test images, which is shown and chooses nothing."""
    return accuracy(model, job.dataset.test(), job.dataset, job.device).top1


def _start(job: Job, how: Recipe, thin: Thin, images: Calibration | None, folder: Path) -> None:
    """Plan and compress, into a folder that appears whole; all processes calibrate, the first one does the rest."""
    stats = images.stats if images is not None and how.calibrated else None
    if rank() == 0:
        plan = how.plan(thin.model, job.example, stats)
        save(how.build(thin.model, plan, images), from_dense(plan, thin, job.model, job.example), folder)


def execute(job: Job) -> None:
    """Train, compress with each kernel, fine-tune, measure; results.json is written last.

    ValueError in one sentence for a training that cannot go on, or a disk without room; the same command goes on from
    what is finished.
    """
    try:
        with alone(job.folder) if rank() == 0 else nullcontext():
            if finished(job.config):
                return  # another process made it since this one looked
            with processes(job.config.training, job.device), Tracker(job.config, job.folder, rank() == 0) as tracker:
                models, plans, accuracies = _networks(job, tracker)
                if rank() == 0:
                    measure(job, models, plans, accuracies, tracker)
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno not in NO_ROOM:
            raise
        raise ValueError(f"out must be a folder with room for the run, got {job.folder} ({error})") from error


def _networks(job: Job, tracker: Tracker) -> tuple[dict[str, nn.Module], dict[str, Plan], dict[str, Accuracies]]:
    """Train every network; also what was planned, and the stages' accuracies.  Nothing that is finished is repeated."""
    console, stages = Console(stderr=True, quiet=rank() > 0), Stages(job.folder)
    if rank() == 0:
        made = stages.inputs()
        others = made is not None and bool(changes(job.config, made))  # accepted with --force
        stages.begin(others or (job.folder / record.COMPLETE).is_file(), inputs(job.config))
        record.write_json(job.folder / record.CONFIG, job.config.flat())
    finished = agreed(stages.finished())

    def say(stage: str, what: str, epochs: int) -> None:
        under_way = "goes on" if stages.checkpoint(stage).is_file() else f"{epochs} epochs"
        console.print(f"{what}: {'finished before' if stage in finished else under_way}", markup=False, highlight=False)

    if words := statistics(job.model, job.config.training):
        console.print(words, markup=False, highlight=False)
    say("dense", "dense", job.epochs)
    _dense(job, stages, "dense" in finished, tracker)
    models, plans = {"dense": job.model}, {}
    thin = job.thin()  # of the same trained weights the same channels: nothing to keep for a run that is killed
    images = job.calibration(thin.model)
    for kernel, how in job.recipes.items():
        say(kernel, f"{kernel} at {how.goal}" if how.goal else kernel, job.finetune_epochs)
        models[kernel], plans[kernel] = _compressed(job, stages, kernel, thin, images, kernel in finished, tracker)
    for kernel in job.scratch:
        say(kernel, f"{kernel} from scratch", job.scratch_epochs)
        models[kernel] = _from_scratch(job, stages, kernel, kernel in finished, tracker)
    return models, plans, agreed(stages.finished())
