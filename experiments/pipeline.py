"""The stages of a run: prepare (all that can be refused is refused here), execute, present."""

import errno
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from lightning import Callback, seed_everything
from rich.console import Console
from safetensors import SafetensorError
from safetensors.torch import save_model
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from checks import need
from layers import Cost, Plan, cost, load, load_frequency_layers, save, save_frequency_layers
from layers.compress import load_tensors
from layers.cost import evaluating

from . import record, report
from .batches import Batches
from .checkpoint import whole
from .compression import Calibration, Recipe, image_count, recipe
from .config import Config
from .data import Dataset, load_dataset
from .distributed import agreed, processes, rank
from .evaluate import accuracy, latencies
from .from_scratch import check_frequency, frequency_network
from .history import History, seconds
from .memory import peak_memory
from .models import build, factory
from .models.weights import load_checkpoint, load_pretrained
from .stages import Stages
from .tracking import Tracker
from .train import check_training, train

TIMES = {"": "median", "_low": "low", "_high": "high", "_noisy": "noisy"}
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Job(NamedTuple):
    """A checked configuration and what it names."""

    config: Config
    folder: Path
    dataset: Dataset
    model: nn.Module
    device: str
    example: Tensor  # (largest of the latency batches, c, h, w) normalised test images, on the CPU
    recipes: dict[str, Recipe]  # by kernel
    epochs: int
    finetune_epochs: int
    scratch: dict[str, nn.Module]  # networks of frequency layers by kernel, trained like the dense one
    scratch_epochs: int
    calibration_images: int = 0

    def calibration(self) -> Calibration | None:
        """The images that the network is calibrated with, drawn by the run's seed; None where nothing needs them."""
        if not self.calibration_images:
            return None
        seed = self.config.training.seed
        return Calibration.draw(self.model, self.dataset, self.calibration_images, seed, self.device)


def finished(config: Config) -> bool:
    """Whether this configuration's run is complete and need not be repeated."""
    return (config.output.out / config.name / record.COMPLETE).is_file() and not config.output.force


def _network(config: Config, dataset: Dataset, size: int) -> tuple[nn.Module, bool]:
    """(the network for images of that size, whether all its weights were read from a file)."""
    network = config.network
    model = build(network.model, len(dataset.classes), dataset.channels, size)
    if network.pretrained:
        return model, load_pretrained(model, network.model, size, network.checkpoint)
    if network.checkpoint:
        load_checkpoint(model, network.checkpoint)
    return model, network.checkpoint is not None


def prepare(config: Config) -> Job:
    """Look everything up and try it once; ValueError in one sentence for what is wrong, before anything is written."""
    return check(config)._replace(folder=record.open_folder(config))


def check(config: Config) -> Job:
    """The job without its folder: nothing is written."""
    job = look_up(config)
    for each in job.recipes.values():  # a budget that no ranks meet is refused now, not after an hour of training
        if each.budget.metric == "latency":
            job.model.to(job.device)
        each.try_out(job.model, job.example)
    return job


def look_up(config: Config) -> Job:
    """The job, its plans not tried."""
    training, images = config.training, config.data
    for name, value, least in (
        ("max epochs", training.max_epochs, 0),
        ("finetune epochs", training.finetune_epochs, 0),
        ("batch size", images.batch_size, 1),
        ("image size", images.image_size, 1),
        ("workers", images.workers, 0),
    ):
        need(value is None or value >= least, name, value, f"at least {least}")
    given = config.network.checkpoint or config.network.pretrained
    need(given or training.max_epochs != 0, "max epochs", 0, "at least 1 without a --checkpoint or --pretrained")
    sizes = config.measurement.latency_batches
    distinct = len(set(sizes)) == len(sizes) >= 1
    need(distinct and min(sizes) >= 1, "latency batches", sizes, "one or more distinct numbers of at least 1")
    gpu = torch.cuda.is_available()
    need(training.accelerator != "cuda" or gpu, "accelerator", "cuda", "auto or cpu on a machine without a CUDA GPU")
    device = "cuda" if gpu and training.accelerator != "cpu" else "cpu"
    check_training(training, device)

    factory(config.network.model)  # looked up before the images are: a wrong name should not wait for them
    compression = config.compression
    from_scratch, planned = (compression.kernel, ()) if compression.frequency else ((), compression.kernel)
    if from_scratch:
        check_frequency(config)
    recipes = {kernel: recipe(kernel, compression) for kernel in planned}
    dataset = load_dataset(images, training.seed)
    tested = next(iter(Batches(dataset.test(), dataset, max(sizes), workers=0)))[0]
    example = tested[torch.arange(max(sizes)) % len(tested)]  # repeated where there are fewer
    seed_everything(training.seed, verbose=False)
    model, complete = _network(config, dataset, example.shape[-1])
    try:
        with evaluating(model):
            logits = model(example[:1])
    except Exception as error:  # whatever a network of the user's raises
        size = "x".join(map(str, example.shape[1:]))
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"images must fit {config.network.model}, got {size} ({reason})") from error
    wanted, got = (1, len(dataset.classes)), tuple(getattr(logits, "shape", ()))
    need(got == wanted, f"what {config.network.model} returns for one image", got, f"logits of shape {wanted}")

    usual = dataset.epochs if training.max_epochs is None else training.max_epochs
    # with --frequency the epochs are those of the other networks, which do not start from the checkpoint
    skip = complete and (training.max_epochs is None or compression.frequency)
    finetune = training.finetune_epochs if training.finetune_epochs is not None else math.ceil(usual / 4)
    epochs = 0 if skip else usual
    scratch = {kernel: frequency_network(config, dataset, kernel, example.shape[-1]) for kernel in from_scratch}
    job = Job(config, Path(), dataset, model, device, example, recipes, epochs, finetune, scratch, usual)
    if epochs or finetune or scratch:  # read now: a missing or torn file is refused before anything is written
        dataset.train(), dataset.val()
    if any(each.wants_images for each in recipes.values()):
        asked, there = config.compression.calibration_images, len(dataset.train().labels)
        job = job._replace(calibration_images=image_count(asked, there, example.shape[-1]))
    return job


def _fit(
    job: Job, stage: str, model: nn.Module, stages: Stages | None = None, callbacks: Sequence[Callback] = ()
) -> float | None:
    """Train in place, on from the stage's checkpoint; the validation accuracy of the best epoch, None without one."""
    training, dense = job.config.training, stage == "dense" or stage in job.scratch
    epochs = job.finetune_epochs if not dense else job.epochs if stage == "dense" else job.scratch_epochs
    if not epochs:
        return None
    return train(
        model,
        job.dataset,
        training,
        epochs=epochs,
        lr=training.lr if dense else training.lr / 4,
        batch_size=job.config.data.batch_size,
        seed=training.seed,
        teacher=None if dense else job.model,
        checkpoint=None if stages is None else stages.checkpoint(stage),
        callbacks=callbacks,
    )


def train_dense(job: Job) -> float | None:
    """Train the job's own network in place; the validation accuracy of its best epoch."""
    return _fit(job, "dense", job.model)


def _dense(job: Job, stages: Stages, finished: bool, tracker: Tracker) -> None:
    """Leave the trained network in the job and in dense.safetensors."""
    path = job.folder / "dense.safetensors"
    if not finished:
        val = _fit(job, "dense", job.model, stages, [History(job.folder, "dense", tracker)])
        if rank() == 0:
            with whole(path) as temporary:
                save_model(job.model, str(temporary))
            stages.finish("dense", val)
    agreed(None)
    load_tensors(job.model, path)


def _from_scratch(job: Job, stages: Stages, kernel: str, finished: bool, tracker: Tracker) -> nn.Module:
    """The trained network of frequency layers, also in KERNEL.safetensors."""
    path = job.folder / f"{kernel}.safetensors"
    if not finished:
        val = _fit(job, kernel, job.scratch[kernel], stages, [History(job.folder, kernel, tracker)])
        if rank() == 0:
            save_frequency_layers(job.scratch[kernel], kernel, job.config.compression.layers, path)
            stages.finish(kernel, val)
    agreed(None)
    return load_frequency_layers(path, job.model)


def _compressed(
    job: Job, stages: Stages, kernel: str, images: Calibration | None, finished: bool, tracker: Tracker
) -> tuple[nn.Module, Plan]:
    """The compressed, fine-tuned network and its plan, both also in the kernel's folder.

    It is read back before it is fine-tuned: a run that was killed and one that was not go on from the same bits in the
    same memory layout.
    """
    folder, start = job.folder / kernel, stages.start(kernel)
    if not finished:
        if agreed(not start.exists()):
            _start(job, job.recipes[kernel], images, start)
        agreed(None)
        plan, model = Plan.load(start / "plan.json"), load(start, job.model)
        val = _fit(job, kernel, model, stages, [History(job.folder, kernel, tracker)])
        if rank() == 0:
            save(model, plan, folder)
            stages.finish(kernel, val)
    agreed(None)
    return load(folder, job.model), Plan.load(folder / "plan.json")


def _start(job: Job, how: Recipe, images: Calibration | None, folder: Path) -> None:
    """Plan and compress, into a folder that appears whole; all processes calibrate, the first one does the rest."""
    stats = images.stats if images is not None and how.calibrated else None
    if rank() == 0:
        plan = how.plan(job.model, job.example, stats)
        save(how.build(job.model, plan, images), plan, folder)


def _statistics(job: Job) -> str:
    """Whose BatchNorm statistics these will be, in words; empty without BatchNorm."""
    training = job.config.training
    if not any(isinstance(module, _BatchNorm) for module in job.model.modules()):
        return ""
    words = {
        "local": "running averages of each process's own batches, the first one's kept",
        "sync": "running averages over the batches of all processes",
        "reestimate": "measured anew on training images before each validation",
    }
    return f"BatchNorm statistics: {words[training.batchnorm]}"


def execute(job: Job) -> None:
    """Train, compress with each kernel, fine-tune, measure; results.json is written last.

    ValueError in one sentence for a training that cannot go on, or a disk without room; the same command goes on from
    what is finished.
    """
    try:
        with processes(job.config.training, job.device), Tracker(job.config, job.folder, rank() == 0) as tracker:
            models, plans, val = _networks(job, tracker)
            if rank() == 0:
                _measure(job, models, plans, val, tracker)
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError) and error.errno not in NO_ROOM:
            raise
        raise ValueError(f"out must be a folder with room for the run, got {job.folder} ({error})") from error


def _networks(job: Job, tracker: Tracker) -> tuple[dict[str, nn.Module], dict[str, Plan], dict[str, float | None]]:
    """Every network, trained, what was planned, and the validation accuracies; nothing that is finished is repeated."""
    console, stages = Console(stderr=True, quiet=rank() > 0), Stages(job.folder)
    if rank() == 0:
        stages.begin(anew=(job.folder / record.COMPLETE).is_file())
        record.write_json(job.folder / record.CONFIG, job.config.flat())
    finished = agreed(stages.finished())

    def say(stage: str, what: str, epochs: int) -> None:
        under_way = "goes on" if stages.checkpoint(stage).is_file() else f"{epochs} epochs"
        console.print(f"{what}: {'finished before' if stage in finished else under_way}", highlight=False)

    if words := _statistics(job):
        console.print(words, highlight=False)
    say("dense", "dense", job.epochs)
    _dense(job, stages, "dense" in finished, tracker)
    models, plans = {"dense": job.model}, {}
    images = job.calibration()
    for kernel, how in job.recipes.items():
        say(kernel, f"{kernel} at {how.budget}", job.finetune_epochs)
        models[kernel], plans[kernel] = _compressed(job, stages, kernel, images, kernel in finished, tracker)
    for kernel in job.scratch:
        say(kernel, f"{kernel} from scratch", job.scratch_epochs)
        models[kernel] = _from_scratch(job, stages, kernel, kernel in finished, tracker)
    return models, plans, agreed(stages.finished())


def _measure(
    job: Job,
    models: dict[str, nn.Module],
    plans: dict[str, Plan],
    val: dict[str, float | None],
    tracker: Tracker,
) -> None:
    """Compare the networks and write the report."""
    test, rows = job.dataset.test(), []
    example, sizes = job.example.to(job.device), sorted(job.config.measurement.latency_batches)
    timing = latencies(models, example, sizes)
    for name, model in models.items():
        costs: Cost = cost(model, example[:1])
        rows.append(
            {
                "kernel": name,
                "budget": str(job.recipes[name].budget) if name in job.recipes else "",
                **accuracy(model, test, job.dataset, job.device)._asdict(),
                "val_top1": val[name],
                **costs._asdict(),
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
        "test_images": len(test.labels),
        "latency_batches": sizes,
        "rows": rows,
    }
    words = {kernel: how.words(job.calibration_images) for kernel, how in job.recipes.items()}
    report.write(results, {kernel: f"{words[kernel]}\n\n{plan}" for kernel, plan in plans.items()}, job.folder)
    record.write_json(job.folder / record.COMPLETE, results)
    Stages(job.folder).end()


def present(config: Config) -> None:
    """Print the table of a complete run and where its report lies."""
    folder = config.output.out / config.name
    report.show(record.read_results(folder), folder)
