"""Write what became of each epoch into the run folder: `history.json`, rewritten whole after every epoch."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import lightning
import torch
from torch import Tensor, nn

from layers.frequency import FrequencyConv2d, FrequencyLinear

from . import record
from .history import FILE, read

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def drift(model: nn.Module) -> dict[str, list[float]]:
    """Return layer -> quantiles of how far its learned frequencies are from where they began, in bins."""
    moved = {}
    for name, layer in model.named_modules():
        if isinstance(layer, FrequencyLinear | FrequencyConv2d):
            learned = layer.fc if isinstance(layer, FrequencyLinear) else layer.fcc
            basis = layer.decoded.channels
            bins = basis.at(learned.detach()).double().cpu() - basis.start()
            moved[name] = torch.quantile(bins, torch.tensor(QUANTILES, dtype=bins.dtype)).tolist()
    return moved


class Follower(Protocol):
    """Whoever wants to be told of each epoch."""

    def epoch(self, network: str, number: int, metrics: Mapping[str, float]) -> None:
        """Take note that one epoch of one network is over."""


class History(lightning.Callback):
    """Mean training loss, validation accuracy and seconds, validation included, of each epoch of one network.

    An epoch that is trained again, since the run was killed after it or is repeated, takes the place of its row and of
    all later ones: the seconds of a run in several parts add up to those that led to its weights.

    first: the number of its first epoch, where the network was trained before.
    """

    def __init__(
        self,
        folder: Path,
        network: str,
        follower: Follower,
        clock: Callable[[], float] = time.perf_counter,
        first: int = 0,
    ) -> None:
        self.folder, self.network, self.follower, self.clock, self.first = folder, network, follower, clock, first
        self.losses: list[Tensor] = []
        self.began = 0.0

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Start the clock."""
        self.losses.clear()
        self.began = self.clock()

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Keep the loss where it is: reading it would make the device wait."""
        self.losses.append((outputs["loss"] if isinstance(outputs, Mapping) else outputs).detach())

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Write the row, and tell the follower."""
        if not trainer.is_global_zero:
            return
        metrics = {"train_loss": float(torch.stack(self.losses).mean()), "seconds": self.clock() - self.began}
        if "val_top1" in trainer.callback_metrics:
            metrics["val_top1"] = float(trainer.callback_metrics["val_top1"])
        number = self.first + trainer.current_epoch
        earlier = [row for row in read(self.folder) if row["network"] != self.network or row["epoch"] < number]
        moved = drift(getattr(module, "model", module))  # less the name that Lightning puts before
        row = {"network": self.network, "epoch": number, **metrics, **({"drift": moved} if moved else {})}
        record.write_json(self.folder / FILE, [*earlier, row])
        self.follower.epoch(self.network, number, metrics)
