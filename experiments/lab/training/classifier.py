"""What Lightning trains: steps, epochs judged by accuracy, and the weights of the best one."""

from collections.abc import Iterator
from typing import Any

import lightning
import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel

from layers.calibration import measure_batchnorm

from ..config import Training
from .average import averaged
from .loss import Loss, ordered
from .schedules import OPTIMIZERS, make_schedule
from .trainer import REESTIMATE
from .watch import Watch


class Classifier(lightning.LightningModule):
    """Cross-entropy against labels, with `distill` also against a teacher; keeps the epoch of highest accuracy.

    Where the network is validated before its first step (Lightning's sanity check) its weights compete with every
    epoch's, and stand unless one has a higher accuracy.

    All that an epoch draws at random follows from the seed, the number of the epoch and the process.
    """

    def __init__(
        self,
        model: nn.Module,
        config: Training,
        classes: int,
        *,
        epochs: int,
        lr: float,
        seed: int,
        teacher: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.model, self.config, self.epochs, self.lr, self.seed = model, config, epochs, lr, seed
        self.average = averaged(model, config.ema) if config.ema else None
        self.loss, self.watch = Loss(config, classes, teacher), Watch()
        self.best_accuracy = -1.0
        self.best_state: dict[str, Tensor] = {}
        self.at_start = False  # whether the best weights are those of before the first step
        self.shown: dict[str, float] = {}  # what the progress bar says
        self.first_batch = self.ended = False

    @property
    def judged(self) -> nn.Module:
        """Return the network that is validated and kept: the average of the weights if there is one."""
        return self.model if self.average is None else self.average.module

    def setup(self, stage: str) -> None:
        """Move and compile, once, before anything runs."""
        self.loss.to(self.device)
        if self.config.channels_last:
            self.to(memory_format=torch.channels_last)
        if self.config.compile:
            self.model.compile()

    def on_train_start(self) -> None:
        """Stop again a training that had stopped early before it was interrupted."""
        self.trainer.should_stop |= self.ended

    def on_train_epoch_start(self) -> None:
        """Seed the order of the images, dropout and mixing."""
        batches = self.trainer.train_dataloader
        assert batches is not None
        batches.epoch = self.current_epoch
        mixed = np.random.SeedSequence((self.seed, self.current_epoch, self.global_rank)).generate_state(1)[0]
        lightning.seed_everything(int(mixed), verbose=False)

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        """Compute the loss of one batch."""
        loss = self.loss(self.model, *batch)
        self.watch.see(loss.detach(), self.global_step + 1, number + 1 == self.trainer.num_training_batches)
        if self.watch.mean is not None:
            self.shown["loss"] = self.watch.mean
        return loss * self._share(batch[0], number)

    def _share(self, images: Tensor, number: int) -> Tensor | float:
        """Weigh the last batch, of which some processes may hold more images: gradients are averaged over processes."""
        if self.trainer.world_size == 1 or number + 1 < self.trainer.num_training_batches:
            return 1.0
        count = torch.tensor(float(len(images)), device=self.device)
        return count / self.trainer.strategy.reduce(count.clone(), reduce_op="mean")

    def on_train_batch_start(self, *_: Any) -> None:
        """Note the first batch, where a network that cannot be trained fails: `train` says so in its own words."""
        self.first_batch = self.global_step == 0

    def on_train_batch_end(self, *_: Any) -> None:
        """Follow the weights with their average."""
        self.first_batch = False
        if self.average is not None:
            self.average.update_parameters(self.model)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """Clip to a norm over all weights, also those that other processes hold."""
        if not self.config.clip:
            return
        if isinstance(self.trainer.model, FullyShardedDataParallel):
            self.trainer.model.clip_grad_norm_(self.config.clip)
        else:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)

    def on_validation_start(self) -> None:
        """Measure the BatchNorm statistics anew if asked to, each process on its share of the images."""
        self.counts = torch.zeros(2, dtype=torch.long, device=self.device)
        if self.config.batchnorm != "reestimate" or self.trainer.sanity_checking:
            return  # before the first step the network is judged as it was given
        reduce = self.trainer.strategy.reduce
        images = self._images(self.trainer.train_dataloader)
        measure_batchnorm(self.judged, images, lambda x: reduce(x, reduce_op="mean"))

    def _images(self, loader: Any) -> Iterator[Tensor]:
        """Yield this process's share of the training images that BatchNorm's statistics are measured on."""
        count = 0
        for images, _ in loader:
            if count >= REESTIMATE / self.trainer.world_size:
                return
            count += len(images)
            yield ordered(images.to(self.device), self.config)

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Count the images that are classified correctly."""
        images, labels = batch
        hits = self.judged(ordered(images, self.config)).argmax(1) == labels
        self.counts += torch.stack([hits.sum(), hits.new_tensor(len(labels), dtype=torch.long)])

    def on_validation_epoch_end(self) -> None:
        """Keep this epoch's weights if none was better; of equal epochs the later, which trained longer."""
        hits, images = self.trainer.strategy.reduce(self.counts, reduce_op="sum").tolist()
        accuracy = hits / images
        self.log("val_top1", 100 * accuracy)
        self.shown["val_top1"] = 100 * accuracy
        if accuracy > self.best_accuracy or (accuracy == self.best_accuracy and not self.at_start):
            self.best_accuracy, self.best_state = accuracy, self._weights()
            self.at_start = self.trainer.sanity_checking

    def _weights(self) -> dict[str, Tensor]:
        """Copy the weights of the judged network; with fsdp they are gathered, in the first process only."""
        prefix = "model." if self.average is None else "average.module."
        state = self.trainer.strategy.lightning_module_state_dict()
        return {key.removeprefix(prefix): value.clone() for key, value in state.items() if key.startswith(prefix)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the best epoch so far, and whether a callback has asked to stop."""
        best = {"accuracy": self.best_accuracy, "state": self.best_state, "at_start": self.at_start}
        checkpoint["classifier"] = {"best": best, "ended": self.trainer.should_stop}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore what `on_save_checkpoint` kept."""
        kept = checkpoint["classifier"]
        self.best_accuracy, self.best_state = kept["best"]["accuracy"], kept["best"]["state"]
        self.at_start = kept["best"].get("at_start", False)  # checkpoints from before there was a start lack it
        self.ended = kept["ended"]

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Make the optimizer and its schedule, which is stepped after every batch."""
        optimizer = OPTIMIZERS[self.config.optimizer](self.model.parameters(), self.lr, self.config)
        steps = max(1, int(self.trainer.estimated_stepping_batches) // self.epochs)
        schedule = make_schedule(optimizer, self.config, self.lr, self.epochs, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
