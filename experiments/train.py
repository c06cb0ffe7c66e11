"""Train a classifier with Lightning: AdamW, one cycle, the best epoch by validation accuracy."""

import copy
import logging
import warnings
from collections.abc import Sequence

import lightning
import torch
from lightning.pytorch.callbacks import RichProgressBar
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from .batches import Batches
from .config import Training
from .data import Dataset


class Classifier(lightning.LightningModule):
    """Cross-entropy; keeps the weights of the epoch with the highest validation accuracy."""

    def __init__(self, model: nn.Module, lr: float, config: Training) -> None:
        super().__init__()
        self.model, self.lr, self.config = model, lr, config
        self.best_accuracy, self.best_state = -1.0, copy.deepcopy(model.state_dict())
        self.hits: list[Tensor] = []

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Mean cross-entropy of one batch."""
        images, labels = batch
        loss = cross_entropy(self.model(images), labels)
        self.log("loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Collect which images are classified correctly."""
        images, labels = batch
        self.hits.append((self.model(images).argmax(1) == labels).float())

    def on_validation_epoch_end(self) -> None:
        """Keep this epoch's weights if none was better; of equals the later, which trained longer."""
        accuracy = float(torch.cat(self.hits).mean())
        self.hits.clear()
        self.log("val_top1", 100 * accuracy, prog_bar=True)
        if accuracy >= self.best_accuracy and not self.trainer.sanity_checking:
            self.best_accuracy, self.best_state = accuracy, copy.deepcopy(self.model.state_dict())

    def configure_optimizers(self) -> dict:
        """The configured optimizer and schedule, stepped every batch."""
        c, decay = self.config, self.config.weight_decay
        if c.optimizer == "sgd":
            optimizer = torch.optim.SGD(self.parameters(), self.lr, c.momentum, weight_decay=decay, nesterov=True)
        else:
            optimizer = torch.optim.AdamW(self.parameters(), self.lr, weight_decay=decay)
        steps, schedules = max(1, int(self.trainer.estimated_stepping_batches)), torch.optim.lr_scheduler
        per_epoch = max(1, steps // max(1, self.trainer.max_epochs or 1))
        schedule = {
            "onecycle": lambda: schedules.OneCycleLR(optimizer, self.lr, steps),
            "cosine": lambda: schedules.CosineAnnealingLR(optimizer, steps),
            "step": lambda: schedules.StepLR(optimizer, c.step_size * per_epoch, c.gamma),
            "constant": lambda: schedules.ConstantLR(optimizer, 1.0),
        }[c.schedule]()
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def train(
    model: nn.Module,
    dataset: Dataset,
    config: Training,
    *,
    epochs: int,
    lr: float,
    batch_size: int,
    seed: int,
    callbacks: Sequence[lightning.Callback] = (),
) -> float:
    """Train in place, end with the weights of the best epoch, and return its validation accuracy in percent."""
    lightning.seed_everything(seed, verbose=False)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)  # no banner for each of the networks
    classifier = Classifier(model, lr, config)
    trainer = lightning.Trainer(
        max_epochs=epochs,
        accelerator="gpu" if config.accelerator == "cuda" else config.accelerator,
        devices=1,
        deterministic=config.rep,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[RichProgressBar(leave=False), *callbacks],
    )
    with warnings.catch_warnings():
        # Lightning recommends workers and a larger log interval for loaders that read from disk; these are in memory.
        warnings.filterwarnings("ignore", module="lightning.*")
        trainer.fit(
            classifier,
            Batches(dataset.train(), dataset, batch_size, train=True, seed=seed),
            Batches(dataset.val(), dataset, 1000),
        )
    model.load_state_dict(classifier.best_state)
    return 100 * classifier.best_accuracy
