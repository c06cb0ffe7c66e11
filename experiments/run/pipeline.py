"""The stages of a run: the dense network, each kernel's, trained, compressed and fine-tuned, and what they measure."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

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
from ..lab.runs.epochs import History
from ..lab.runs.inputs import changes, inputs
from ..lab.runs.lock import alone
from ..lab.runs.stages import Accuracies, Stages
from ..lab.runs.tracking import Tracker
from ..lab.training.batchnorm import statistics
from ..lab.training.distributed import agreed, processes, rank
from .measure import measure


class Stage(NamedTuple):
    """One network of a run: what is trained, for so many epochs, how that is saved, and how it is read back."""

    name: str
    words: str  # for the log
    epochs: int
    begin: Callable[[], nn.Module]
    save: Callable[[nn.Module], None]
    load: Callable[[], nn.Module]


def _stages(job: Job, kept: Stages) -> Iterator[Stage]:
    """Yield the dense network, which those after it begin with, the compressed ones, and those from scratch."""
    yield _dense(job)
    thin = job.thin()  # of the same trained weights the same channels: nothing to keep for a run that is killed
    images = job.calibration(thin.model)
    for name, recipe in job.recipes.items():
        yield _compressed(job, kept, name, recipe, thin, images)
    for kernel in job.scratch:
        yield _from_scratch(job, kernel)


def _dense(job: Job) -> Stage:
    """Make the stage of the dense network, which is left in the job and in dense.safetensors."""
    path = job.folder / "dense.safetensors"

    def load_dense() -> nn.Module:
        load_tensors(job.model, path)
        return job.model

    return Stage("dense", "dense", job.epochs, lambda: job.model, lambda model: write_tensors(model, path), load_dense)


def _compressed(job: Job, kept: Stages, name: str, recipe: Recipe, thin: Thin, images: Calibration | None) -> Stage:
    """Make the stage of a compressed network, fine-tuned, in a folder of its own with its plan.

    It is read back before it is fine-tuned: a run that was killed and one that was not go on from the same bits in the
    same memory layout.
    """
    folder, start, treatment = job.folder / name, kept.start(name), recipe.treatment

    def begin() -> nn.Module:
        if agreed(not start.exists()):
            _start(job, recipe, thin, images, start)
        agreed(None)
        return treatment.begin(load(start, job.model))

    def save_compressed(model: nn.Module) -> None:
        plan, facts = Plan.load(start / "plan.json"), job.dataset.preprocessing.record()
        save(treatment.end(model), plan, folder, preprocessing=facts)

    words = f"{name} at {recipe.goal}" if recipe.goal else name
    return Stage(
        name, words, job.finetune_epochs, begin, save_compressed, lambda: treatment.read(load(folder, job.model))
    )


def _from_scratch(job: Job, kernel: str) -> Stage:
    """Make the stage of a network of frequency layers, in KERNEL.safetensors."""
    path, layers = job.folder / f"{kernel}.safetensors", job.config.compression.layers
    return Stage(
        kernel,
        f"{kernel} from scratch",
        job.scratch_epochs,
        lambda: job.scratch[kernel],
        lambda model: save_frequency_layers(model, kernel, layers, path),
        lambda: load_frequency_layers(path, job.model),
    )


def _top1(job: Job, model: nn.Module) -> float:
    """Return the accuracy on the test images, which is shown and chooses nothing."""
    return accuracy(model, job.dataset.test(), job.dataset, job.device).top1


def _start(job: Job, recipe: Recipe, thin: Thin, images: Calibration | None, folder: Path) -> None:
    """Plan and compress, into a folder that appears whole; all processes calibrate, the first one does the rest."""
    stats = images.stats if images is not None and recipe.calibrated else None
    if rank() == 0:
        plan = recipe.plan(thin.model, job.example, stats)
        save(recipe.build(thin.model, plan, images), from_dense(plan, thin, job.model, job.example), folder)


def execute(job: Job) -> None:
    """Train, compress with each kernel, fine-tune, measure; results.json is written last.

    ValueError in one sentence for a training that cannot go on, or a disk without room; the same command goes on from
    what is finished.
    """
    try:
        # the processes first: until they have met, each takes itself for the first
        with processes(job.config.training, job.device), _held(job.folder):
            if agreed(finished(job.config)):
                return  # another process made it since this one looked
            with Tracker(job.config, job.folder, rank() == 0) as tracker:
                models, plans, accuracies = _networks(job, tracker)
                if rank() == 0:
                    measure(job, models, plans, accuracies, tracker)
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno not in NO_ROOM:
            raise
        raise ValueError(f"out must be a folder with room for the run, got {job.folder} ({error})") from error


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Hold the run's folder in the first process; where another run holds it, all processes say so and end."""
    refusal = None
    with ExitStack() as locks:
        if rank() == 0:
            try:
                locks.enter_context(alone(folder))
            except ValueError as error:
                refusal = str(error)
        if (sentence := agreed(refusal)) is not None:
            raise ValueError(sentence)
        yield


def _networks(job: Job, tracker: Tracker) -> tuple[dict[str, nn.Module], dict[str, Plan], dict[str, Accuracies]]:
    """Train every network; also what was planned, and the stages' accuracies.  Nothing that is finished is repeated."""
    console, kept = Console(stderr=True, quiet=rank() > 0), Stages(job.folder)
    if rank() == 0:
        made = kept.inputs()
        others = made is not None and bool(changes(job.config, made))  # accepted with --force
        kept.begin(others or (job.folder / record.COMPLETE).is_file(), inputs(job.config))
        record.write_json(job.folder / record.CONFIG, job.config.flat())
    done = agreed(kept.finished())

    if words := statistics(job.model, job.config.training):
        console.print(words, markup=False, highlight=False)
    models = {}
    for stage in _stages(job, kept):
        state = (
            "goes on" if kept.checkpoint(stage.name).is_file() else f"{stage.epochs} epoch{'s' * (stage.epochs != 1)}"
        )
        state = "finished before" if stage.name in done else state
        console.print(f"{stage.words}: {state}", markup=False, highlight=False)
        if stage.name not in done:
            _make(job, kept, stage, tracker)
        agreed(None)
        models[stage.name] = stage.load()
    plans = {name: Plan.load(job.folder / name / "plan.json") for name in job.recipes}
    return models, plans, agreed(kept.finished())


def _make(job: Job, kept: Stages, stage: Stage, tracker: Tracker) -> None:
    """Train the network of a stage and save it, from where an earlier process was killed."""
    model = stage.begin()
    tuned = stage.name in job.recipes and stage.epochs > 0
    before = _top1(job, model) if tuned and rank() == 0 else None
    val = _fit(job, stage.name, model, kept, [History(job.folder, stage.name, tracker)])
    if rank() == 0:
        stage.save(model)
        kept.finish(stage.name, Accuracies(val, before))
