"""Train a classifier with Lightning, on one device or many; the best epoch by validation accuracy is kept."""

import logging
import traceback
import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn

from checks import require
from layers.network import copy_of

from ..config import Training
from ..data import Dataset
from ..data.batches import Batches
from .classifier import Classifier
from .distributed import agreed, rank, world
from .stopped import NoRoom, Stopped
from .trainer import make_trainer


def _failure(error: Exception) -> str:
    """Return error type, first line, and the place in the code of whoever wrote the network."""
    trace = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in trace if "site-packages" not in frame.filename and frame.filename != __file__]
    where = f" at {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}{where}"


def _no_room(error: Exception) -> bool:
    """Tell whether memory ran out, which on a CPU has no type of its own."""
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
    keep_start: bool = False,
    checkpoint: Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> float:
    """Train in place, end with the weights of the best epoch, and return its validation accuracy in percent.

    keep_start: the weights as given are kept unless an epoch has a higher validation accuracy, so that fine-tuning
    never loses what a network could do before.
    If the file `checkpoint` exists the training goes on from it; each epoch is saved there.  With several processes
    every one calls this, inside `distributed.processes`.  Stopped (a ValueError) says in one sentence why a training
    cannot go on: Diverged, a loss that is no number; NoRoom for the first batch; a network that fails on it.
    """
    lightning.seed_everything(seed, verbose=False)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no banner for each of the networks
    own = copy_of(model)  # sharding, compilation and memory format shall not outlast the training
    classifier = Classifier(own, config, len(dataset.classes), epochs=epochs, lr=lr, seed=seed, teacher=teacher)
    resume = str(checkpoint) if checkpoint is not None and agreed(checkpoint.is_file()) else None
    trainer = make_trainer(config, epochs, checkpoint, callbacks, judge_start=keep_start and resume is None)
    val, device = dataset.val(), trainer.strategy.root_device
    require(
        len(val.labels) >= world(), "validation images", len(val.labels), f"at least one for each of {world()} ranks"
    )
    batches = partial(Batches, dataset=dataset, rank=rank(), world=world(), device=device)
    training, validation = batches(dataset.train(), size=batch_size, train=True, seed=seed), batches(val, size=1000)
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
