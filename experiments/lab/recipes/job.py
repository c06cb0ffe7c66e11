"""A run's job: everything it names, looked up and tried once; all that can be refused is refused here."""

import math
from pathlib import Path
from typing import NamedTuple

import torch
from lightning import seed_everything
from torch import Tensor, nn

from checks import require
from layers.network import evaluating

from ..config import Config
from ..data import Dataset, load_dataset
from ..data.batches import Batches
from ..evaluation.calibration import Calibration, image_count
from ..evaluation.first_look import warn_near_chance, warn_of_shared
from ..evaluation.hands import Hands, layers_folder
from ..evaluation.workshop import Workshop
from ..models import answer_scores, build, factory
from ..models.weights import load_checkpoint, load_pretrained, shown_as_to
from ..refusals import check_options
from ..runs import record
from ..runs.inputs import changes
from ..runs.stages import Stages
from ..steps.finetune import Finetune
from ..steps.language import written
from ..steps.state import State, Steps
from ..training.distributed import rank
from ..training.trainer import check_training
from .from_scratch import check_frequency, frequency_network
from .rows import kernel_in, rows


class Job(NamedTuple):
    """A checked configuration and what it names."""

    config: Config
    folder: Path
    dataset: Dataset
    model: nn.Module
    device: str
    example: Tensor  # (largest of the latency batches, c, h, w) normalised test images, on the CPU
    rows: dict[str, Steps]  # by name
    epochs: int
    finetune_epochs: int  # of the shorter options
    scratch: dict[str, nn.Module]  # networks of frequency layers by kernel, trained like the dense one
    scratch_epochs: int
    calibration_images: int = 0

    def workshop(self) -> Workshop:
        """Return what the steps of a row work with."""
        config, trained = self.config, self.epochs == 0
        images, batch_size = self.calibration_images, config.data.batch_size
        where = (self.model, self.example, self.dataset, self.device)
        return Workshop(*where, config.training, batch_size, images, trained, hands=self.hands)

    @property
    def hands(self) -> Hands:
        """Return who judges the layers of a plan, and where that is kept: for every verb, in the user's cache."""
        return Hands(self.config.training.executor, layers_folder())

    @property
    def validated(self) -> bool:
        """Whether images validate: those of a run that reads training images at all."""
        tuned = any(isinstance(step, Finetune) for steps in self.rows.values() for step in steps)
        return bool(self.epochs or tuned or self.scratch or self.calibration_images)

    def calibration(self, model: nn.Module) -> Calibration | None:
        """Draw the images that this network is calibrated with, by the run's seed; None where nothing needs them."""
        if not self.calibration_images:
            return None
        seed = self.config.training.seed
        return Calibration.draw(model, self.dataset, self.calibration_images, seed, self.device)


def finished(config: Config) -> bool:
    """Whether this configuration's run is complete and need not be repeated."""
    return (config.output.out / config.name / record.COMPLETE).is_file() and not config.output.force


def prepare(config: Config) -> Job:
    """Look everything up and try it once; ValueError in one sentence for what is wrong, before anything is written.

    So is a run under way whose checkpoint, images or code have changed: it would be of both.
    """
    job, made = check(config), Stages(config.output.out / config.name).inputs()
    others = changes(config, made) if made is not None and not config.output.force else []
    require(not others, "unfinished run", ", ".join(others), "of what it was begun with: pass --force to begin it anew")
    return job._replace(folder=record.make_folder(config.output.out, config.name))


def check(config: Config) -> Job:
    """Return the job without its folder: nothing is written."""
    job = look_up(config)
    kernels = [kernel for steps in job.rows.values() if (kernel := kernel_in(steps)) is not None]
    if any(kernel.budget.metric == "latency" for kernel in kernels):
        job.model.to(job.device)
    shop = job.workshop()
    known: dict[tuple[str, ...], State] = {(): State.of(shop)}
    for steps in job.rows.values():  # a budget that no ranks meet is refused now, not after an hour of training
        words = tuple(map(written, steps))
        for place, step in enumerate(steps):
            if words[: place + 1] not in known:
                known[words[: place + 1]] = step.check(known[words[:place]], shop)
    return job


def look_up(config: Config) -> Job:
    """Look up and check all that a configuration names, without trying whether the budgets can be met."""
    training, images = config.training, config.data
    check_options(config)
    gpu = torch.cuda.is_available()
    require(training.accelerator != "cuda" or gpu, "accelerator", "cuda", "auto or cpu on a machine without a CUDA GPU")
    device = "cuda" if gpu and training.accelerator != "cpu" else "cpu"
    check_training(training, device)

    factory(config.network.model)  # looked up before the images are: a wrong name should not wait for them
    compression = config.compression
    from_scratch = compression.kernel if compression.frequency else ()
    if compression.frequency:
        check_frequency(config)
    if not compression.frequency:
        rows(compression, 1)  # for what it refuses, before any image is read
    if config.network.pretrained:
        images = shown_as_to(images, config.network.model, config.network.checkpoint)
    dataset, sizes = load_dataset(images, training.seed), config.measurement.latency_batches
    tested = next(iter(Batches(dataset.test(), dataset, max(sizes), workers=0)))[0]
    example = tested[torch.arange(max(sizes)) % len(tested)]  # repeated where there are fewer
    seed_everything(training.seed, verbose=False)
    model, complete = _network(config, dataset, example.shape[-1])
    try:
        with evaluating(model):
            logits = answer_scores(model, example[:1].clone())  # a network may work in place on its images
    except Exception as error:  # whatever a network of the user's raises
        size = "x".join(map(str, example.shape[1:]))
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        padded = f", {dataset.preprocessing.pad} pixels of which on every side are --pad" * (
            dataset.preprocessing.pad > 0
        )
        raise ValueError(f"images must fit {config.network.model}, got {size}{padded} ({reason})") from error
    wanted = (1, len(dataset.classes))
    got = tuple(logits.shape) if isinstance(logits, torch.Tensor) else type(logits).__name__
    require(got == wanted, f"what {config.network.model} returns for one image", got, f"logits of shape {wanted}")

    if complete and rank() == 0:
        warn_near_chance(model, dataset, device)

    usual = dataset.epochs if training.max_epochs is None else training.max_epochs
    # with --frequency the epochs are those of the other networks, which do not start from the checkpoint
    skip = complete and (training.max_epochs is None or compression.frequency)
    finetune = training.finetune_epochs if training.finetune_epochs is not None else math.ceil(usual / 4)
    epochs = 0 if skip else usual
    scratch = {kernel: frequency_network(config, dataset, kernel, example.shape[-1]) for kernel in from_scratch}
    lists = {} if compression.frequency else rows(compression, finetune)
    job = Job(config, Path(), dataset, model, device, example, lists, epochs, finetune, scratch, usual)
    if job.validated or finetune:  # read now: a missing or torn file is refused before anything is written
        dataset.train(), dataset.val()
    asked = config.compression.calibration_images
    if any(step.images for steps in lists.values() for step in steps):
        there = len(dataset.calibration().labels)
        job = job._replace(calibration_images=image_count(asked, there, example.shape[-1]))
    else:
        require(asked is None, "calibration images", asked, "left out where no network is calibrated")
    if rank() == 0 and (job.validated or finetune):
        warn_of_shared(dataset.train(), dataset.test())
    return job


def job_of_trained_network(config: Config) -> Job:
    """Look up the job of a network that is trained already, where `plan`, `sweep`, `search` and `bench planner` begin.

    ValueError in one sentence without a trained network.
    """
    network = config.network
    given = network.checkpoint is not None or network.pretrained
    require(given, "checkpoint", None, "given, or --pretrained: dense.safetensors of a run's folder, for one")
    job = look_up(config)
    whole = f"one whose weights fit {len(job.dataset.classes)} classes: train the last layer first"
    require(job.epochs == 0, "pretrained network", network.model, whole)
    job.model.eval().to(job.device)
    return job


def _network(config: Config, dataset: Dataset, size: int) -> tuple[nn.Module, bool]:
    """Return (the network for images of that size, whether all its weights were read from a file)."""
    network = config.network
    model = build(network.model, len(dataset.classes), dataset.channels, size)
    if network.pretrained:
        return model, load_pretrained(model, network.model, size, network.checkpoint)
    if network.checkpoint:
        load_checkpoint(model, network.checkpoint)
    return model, network.checkpoint is not None
