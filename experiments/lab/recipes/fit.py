"""Train the networks of a job: the dense one, those from scratch, the compressed ones."""

from collections.abc import Sequence

from lightning import Callback
from torch import nn

from ..runs.stages import Stages
from ..training.train import train
from .job import Job

FINETUNE = 1 / 20  # of the peak learning rate: what refitted factors gain by it is less than a larger step destroys


def _fit(
    job: Job, stage: str, model: nn.Module, stages: Stages | None = None, callbacks: Sequence[Callback] = ()
) -> float | None:
    """Train in place, on from the stage's checkpoint; the validation accuracy of the best epoch, None without one."""
    training, dense = job.config.training, stage == "dense" or stage in job.scratch
    given = job.config.network.checkpoint is not None or job.config.network.pretrained
    epochs = job.finetune_epochs if not dense else job.epochs if stage == "dense" else job.scratch_epochs
    if not epochs:
        return None
    return train(
        model,
        job.dataset,
        training,
        epochs=epochs,
        lr=training.lr if dense else training.finetune_lr or training.lr * FINETUNE,
        batch_size=job.config.data.batch_size,
        seed=training.seed,
        teacher=None if dense else job.model,
        keep_start=not dense or (stage == "dense" and given),
        checkpoint=None if stages is None else stages.checkpoint(stage),
        callbacks=callbacks,
    )


def train_dense(job: Job) -> float | None:
    """Train the job's own network in place; the validation accuracy of its best epoch."""
    return _fit(job, "dense", job.model)


def fine_tune(job: Job, model: nn.Module, callbacks: Sequence[Callback] = ()) -> float | None:
    """Train a compressed network in place as a run does; the validation accuracy of its best epoch, if there is one."""
    return _fit(job, "compressed", model, callbacks=callbacks)
