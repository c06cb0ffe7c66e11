"""Train a classifier with Lightning, on one device or many; the best epoch by validation accuracy is kept."""

import copy
import logging
import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path

import lightning
import torch
from lightning.fabric.plugins.environments import SLURMEnvironment
from lightning.pytorch.callbacks import Callback, EarlyStopping, RichProgressBar
from lightning.pytorch.strategies import FSDPStrategy
from torch import nn

from checks import need

from .batches import Batches
from .checkpoint import WholeFiles, every_epoch
from .classifier import Classifier
from .config import Training
from .data import Dataset
from .distributed import agreed, check_launch, rank, world
from .stopped import NoRoom, Stopped

PRECISIONS = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}


def check_training(config: Training, device: str) -> None:
    """Refuse numbers out of range, and what this device or these processes cannot do."""
    for name, value, ok, allowed in (
        ("lr", config.lr, config.lr > 0, "above 0"),
        ("momentum", config.momentum, 0 <= config.momentum < 1, "from 0 to below 1"),
        ("weight decay", config.weight_decay, config.weight_decay >= 0, "at least 0"),
        ("warmup epochs", config.warmup_epochs, config.warmup_epochs >= 0, "at least 0"),
        ("step size", config.step_size, config.step_size >= 1, "at least 1"),
        ("gamma", config.gamma, config.gamma > 0, "above 0"),
        ("label smoothing", config.label_smoothing, 0 <= config.label_smoothing < 1, "from 0 to below 1"),
        ("mixup", config.mixup, config.mixup >= 0, "at least 0"),
        ("cutmix", config.cutmix, config.cutmix >= 0, "at least 0"),
        ("ema", config.ema, 0 <= config.ema < 1, "from 0 to below 1"),
        ("distill", config.distill, 0 <= config.distill <= 1, "from 0 to 1"),
        ("temperature", config.temperature, config.temperature > 0, "above 0"),
        ("clip", config.clip, config.clip is None or config.clip > 0, "above 0"),
        ("patience", config.patience, config.patience is None or config.patience >= 1, "at least 1"),
    ):
        need(ok, name, value, allowed)
    check_launch(config, device)
    several, fsdp = config.devices * config.nodes > 1, config.strategy == "fsdp"
    need(device == "cuda" or config.precision != "16", "precision", "16", "32 or bf16 on a CPU")
    need(device == "cuda" or not fsdp, "strategy", "fsdp", "auto or ddp on a CPU")
    need(not fsdp or several, "strategy", "fsdp", "auto for one process: there is nothing to share out")
    need(not (fsdp and config.ema), "ema", config.ema, "0 with --strategy fsdp")
    sync = several and config.batchnorm == "sync"
    need(device == "cuda" or not sync, "batchnorm", "sync", "local or reestimate on a CPU")


class Progress(RichProgressBar):
    """Shows numbers that are on the CPU already: a look at one on the GPU would wait for the step."""

    def get_metrics(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> dict:
        """The mean loss of late steps and the accuracy of the last validation."""
        return {name: f"{value:.3g}" for name, value in pl_module.shown.items()}


def make_trainer(
    config: Training, epochs: int, checkpoint: Path | None = None, callbacks: Sequence[Callback] = ()
) -> lightning.Trainer:
    """Lightning's Trainer as configured; with `checkpoint`, a file's path, every epoch is saved there."""
    plugins: list = [WholeFiles()]
    if SLURMEnvironment.detect():
        plugins.append(SLURMEnvironment(auto_requeue=False))  # the same command goes on by itself, from our files
    several = config.devices * config.nodes > 1
    strategy = FSDPStrategy(state_dict_type="full") if config.strategy == "fsdp" else "ddp" if several else "auto"
    own: list[Callback] = [Progress(leave=False)]
    if config.patience is not None:
        own.append(EarlyStopping("val_top1", mode="max", patience=config.patience, check_on_train_epoch_end=False))
    if checkpoint is not None:
        own.append(every_epoch(checkpoint))
    return lightning.Trainer(
        max_epochs=epochs,
        accelerator="gpu" if config.accelerator == "cuda" else config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        strategy=strategy,
        precision=PRECISIONS[config.precision],
        sync_batchnorm=several and config.batchnorm == "sync",
        deterministic=config.rep,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=checkpoint is not None,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        plugins=plugins,
        callbacks=[*own, *callbacks],
    )


def _failure(error: Exception) -> str:
    """Error type, first line, and the place in the code of whoever wrote the network."""
    frames = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in frames if "site-packages" not in frame.filename and frame.filename != __file__]
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}{where}"


def _no_room(error: Exception) -> bool:
    """Whether memory ran out, which on a CPU has no type of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def train(
    model: nn.Module,
    dataset: Dataset,
    config: Training,
    *,
    epochs: int,
    lr: float,
    batch_size: int,
    seed: int,
    teacher: nn.Module | None = None,
    checkpoint: Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> float:
    """Train in place, end with the weights of the best epoch, and return its validation accuracy in percent.

    If the file `checkpoint` exists the training goes on from it; each epoch is saved there.  With several processes
    every one calls this, inside `distributed.processes`.  Stopped (a ValueError) says in one sentence why a training
    cannot go on: Diverged, a loss that is no number; NoRoom for the first batch; a network that fails on it.
    """
    lightning.seed_everything(seed, verbose=False)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no banner for each of the networks
    options = {"epochs": epochs, "lr": lr, "seed": seed, "teacher": teacher}
    # a copy: sharding, compilation and memory format shall not outlast the training
    classifier = Classifier(copy.deepcopy(model), config, len(dataset.classes), **options)
    trainer = make_trainer(config, epochs, checkpoint, callbacks)
    val, place = dataset.val(), {"rank": rank(), "world": world(), "device": trainer.strategy.root_device}
    need(len(val.labels) >= world(), "validation images", len(val.labels), f"at least one for each of {world()} ranks")
    training = Batches(dataset.train(), dataset, batch_size, train=True, seed=seed, **place)
    validation = Batches(val, dataset, 1000, **place)
    resume = str(checkpoint) if checkpoint is not None and agreed(checkpoint.is_file()) else None
    try:
        with warnings.catch_warnings():
            # Lightning recommends workers and a larger log interval; these loaders have what they need
            warnings.filterwarnings("ignore", module="lightning.*")
            trainer.fit(classifier, training, validation, ckpt_path=resume, weights_only=True)
    except (Stopped, OSError):
        raise
    except Exception as error:
        if not classifier.first_batch:
            raise
        shape = "x".join(map(str, next(iter(training))[0].shape))
        kind = NoRoom if _no_room(error) else Stopped
        raise kind(f"model must train on a first batch of {shape}, got {_failure(error)}") from error
    model.load_state_dict(agreed(classifier.best_state) if config.strategy == "fsdp" else classifier.best_state)
    return 100 * classifier.best_accuracy
