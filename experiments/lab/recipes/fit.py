"""Train the networks of a job: the dense one and those from scratch."""

from collections.abc import Sequence
from pathlib import Path

from lightning import Callback
from torch import nn

from ..steps.finetune import tune
from ..training.train import train
from .job import Job


def fit(
    job: Job, stage: str, model: nn.Module, checkpoint: Path | None = None, callbacks: Sequence[Callback] = ()
) -> float | None:
    """Train in place, on from the checkpoint; the validation accuracy of the best epoch, None without one."""
    training, network, dense = job.config.training, job.config.network, stage == "dense"
    epochs = job.epochs if dense else job.scratch_epochs
    if not epochs:
        return None
    return train(
        model,
        job.dataset,
        training,
        epochs=epochs,
        lr=training.lr,
        batch_size=job.config.data.batch_size,
        seed=training.seed,
        keep_start=dense and (network.checkpoint is not None or network.pretrained),
        checkpoint=checkpoint,
        callbacks=callbacks,
    )


def train_dense(job: Job) -> float | None:
    """Train the job's own network in place; the validation accuracy of its best epoch."""
    return fit(job, "dense", job.model)


def fine_tune(job: Job, model: nn.Module, callbacks: Sequence[Callback] = ()) -> float | None:
    """Train a compressed network in place as a run does; the validation accuracy of its best epoch, if there is one."""
    if not job.finetune_epochs:
        return None
    shop = job.workshop()
    shop.callbacks = callbacks
    return tune(model, shop, job.finetune_epochs)
