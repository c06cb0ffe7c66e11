"""What Lightning trains: the loss of a step, the accuracy of an epoch, and the weights of the best one."""

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, update_bn
from torchvision.transforms import v2

from .config import Training
from .schedules import OPTIMIZERS, make_schedule

SYNC_EVERY = 50  # steps between two looks at the loss on a GPU: each look waits for the device
REESTIMATE = 10_000  # images suffice for BatchNorm's statistics (Wu & Johnson 2021, section 3)


class Stopped(ValueError):
    """A training that cannot go on; one sentence."""


def moving_average(most: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """w' = d w' + (1 - d) w with d = min(most, (1 + n) / (10 + n)) after n steps: short runs too forget the start."""

    @torch.no_grad()
    def update(averages: list[Tensor], currents: list[Tensor], n: Tensor | int) -> None:
        decay = (1 + torch.as_tensor(n)) / (10 + torch.as_tensor(n))
        rate = 1 - decay.clamp(max=most)
        for average, current in zip(averages, currents):
            if average.is_floating_point():
                average.lerp_(current, rate.to(average))
            else:
                average.copy_(current)  # the number of batches seen

    return update


def distillation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) | softmax(logits / T)), the mean over images (Hinton et al. 2015, section 2)."""
    soft, softer = log_softmax(logits / temperature, 1), log_softmax(teacher / temperature, 1)
    return temperature**2 * kl_div(soft, softer, reduction="batchmean", log_target=True)


class Classifier(lightning.LightningModule):
    """Cross-entropy against labels, with `distill` also against a teacher; keeps the epoch of highest accuracy.

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
        self.average = None
        if config.ema:
            average = AveragedModel(model, multi_avg_fn=moving_average(config.ema), use_buffers=True)
            self.average = average.requires_grad_(False)
        # in a tuple: the teacher is no part of what is trained, saved or set to train mode; a copy: it changes device
        self.teachers = () if teacher is None or not config.distill else (copy.deepcopy(teacher).eval(),)
        mixes = [kind(alpha=alpha, num_classes=classes) for kind, alpha in self._mixes() if alpha]
        self.mix = v2.RandomChoice(mixes) if mixes else None
        self.best_accuracy, self.best_state = -1.0, {}
        self.losses: list[Tensor] = []
        self.shown: dict[str, float] = {}  # what the progress bar says
        self.first_batch = self.ended = False

    def _mixes(self) -> list[tuple[Callable[..., nn.Module], float]]:
        return [(v2.MixUp, self.config.mixup), (v2.CutMix, self.config.cutmix)]

    @property
    def judged(self) -> nn.Module:
        """The network that is validated and kept: the average of the weights if there is one."""
        return self.model if self.average is None else self.average.module

    def _ordered(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self.config.channels_last else images

    def setup(self, stage: str) -> None:
        """Once, before anything runs."""
        for teacher in self.teachers:
            teacher.to(self.device)
        if self.config.channels_last:
            for network in (self, *self.teachers):
                network.to(memory_format=torch.channels_last)
        if self.config.compile:
            self.model.compile()

    def on_train_start(self) -> None:
        """A training that had stopped early before it was interrupted stops again."""
        self.trainer.should_stop |= self.ended

    def on_train_epoch_start(self) -> None:
        """The order of the images, dropout and mixing draw from here."""
        self.trainer.train_dataloader.epoch = self.current_epoch
        mixed = np.random.SeedSequence((self.seed, self.current_epoch, self.global_rank)).generate_state(1)[0]
        lightning.seed_everything(int(mixed), verbose=False)

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        """The loss of one batch."""
        images, labels = batch
        if self.mix is not None:
            images, labels = self.mix(images, labels)
        images = self._ordered(images)
        logits = self.model(images)
        loss = cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
        for teacher in self.teachers:
            with torch.no_grad():
                answers = teacher(images)
            weight = self.config.distill
            loss = (1 - weight) * loss + weight * distillation(logits, answers, self.config.temperature)
        self._look_at(loss.detach(), number)
        return loss * self._share(images, number)

    def _share(self, images: Tensor, number: int) -> Tensor | float:
        """Gradients are averaged over processes; in the last batch some may hold an image more than others."""
        if self.trainer.world_size == 1 or number + 1 < self.trainer.num_training_batches:
            return 1.0
        count = torch.tensor(float(len(images)), device=self.device)
        return count / self.trainer.strategy.reduce(count.clone(), reduce_op="mean")

    def _look_at(self, loss: Tensor, number: int) -> None:
        """Stop at the first loss that is no number; on a GPU look now and then, as each look waits for the device."""
        self.losses.append(loss)
        last = number + 1 == self.trainer.num_training_batches
        if self.device.type == "cpu" or len(self.losses) >= SYNC_EVERY or last:
            values = torch.stack(self.losses).tolist()
            self.losses.clear()
            for offset, value in enumerate(values, self.global_step + 1 - len(values)):
                if not math.isfinite(value):
                    advice = "try a lower --lr, --clip 1, or --precision 32"
                    raise Stopped(f"loss must be finite, got {value} at step {offset + 1}: {advice}")
            self.shown["loss"] = sum(values) / len(values)

    def on_train_batch_start(self, *_: Any) -> None:
        """A network that cannot be trained shows it here, and `train` says it in other words than Lightning."""
        self.first_batch = self.global_step == 0

    def on_train_batch_end(self, *_: Any) -> None:
        """A whole step is done."""
        self.first_batch = False
        if self.average is not None:
            self.average.update_parameters(self.model)

    def configure_gradient_clipping(
        self, optimizer: Any, gradient_clip_val: Any = None, gradient_clip_algorithm: Any = None
    ) -> None:
        """To a norm over all weights, also those that other processes hold."""
        if not self.config.clip:
            return
        if isinstance(self.trainer.model, FullyShardedDataParallel):
            self.trainer.model.clip_grad_norm_(self.config.clip)
        else:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)

    def on_validation_start(self) -> None:
        """Measure the BatchNorm statistics anew if asked to, each process on its share of the images."""
        self.counts = torch.zeros(2, dtype=torch.long, device=self.device)
        if self.config.batchnorm != "reestimate":
            return
        update_bn(self._some(self.trainer.train_dataloader), self.judged)
        for norm in self.judged.modules():
            if isinstance(norm, _BatchNorm) and norm.running_mean is not None:
                mean, square = (
                    self.trainer.strategy.reduce(moment, reduce_op="mean")
                    for moment in (norm.running_mean.clone(), norm.running_var + norm.running_mean.square())
                )
                norm.running_mean.copy_(mean)
                norm.running_var.copy_(square - mean.square())

    def _some(self, loader: Any) -> Iterator[Tensor]:
        seen = 0
        for images, _ in loader:
            if seen >= REESTIMATE / self.trainer.world_size:
                return
            seen += len(images)
            yield self._ordered(images.to(self.device))

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int) -> None:
        """Count the images that are classified correctly."""
        images, labels = batch
        hits = self.judged(self._ordered(images)).argmax(1) == labels
        self.counts += torch.stack([hits.sum(), hits.new_tensor(len(labels), dtype=torch.long)])

    def on_validation_epoch_end(self) -> None:
        """Keep this epoch's weights if none was better; of equals the later, which trained longer."""
        hits, images = self.trainer.strategy.reduce(self.counts, reduce_op="sum").tolist()
        accuracy = hits / images
        self.log("val_top1", 100 * accuracy)
        self.shown["val_top1"] = 100 * accuracy
        if accuracy >= self.best_accuracy:
            self.best_accuracy, self.best_state = accuracy, self._weights()

    def _weights(self) -> dict[str, Tensor]:
        """A copy of the judged network's; with fsdp gathered, in the first process only."""
        prefix = "model." if self.average is None else "average.module."
        state = self.trainer.strategy.lightning_module_state_dict()
        return {key.removeprefix(prefix): value.clone() for key, value in state.items() if key.startswith(prefix)}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """The best epoch so far, and whether a callback has asked to stop."""
        best = {"accuracy": self.best_accuracy, "state": self.best_state}
        checkpoint["classifier"] = {"best": best, "ended": self.trainer.should_stop}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on from there."""
        kept = checkpoint["classifier"]
        self.best_accuracy, self.best_state = kept["best"]["accuracy"], kept["best"]["state"]
        self.ended = kept["ended"]

    def configure_optimizers(self) -> dict:
        """As configured, the schedule stepped every batch."""
        optimizer = OPTIMIZERS[self.config.optimizer](self.model.parameters(), self.lr, self.config)
        steps = max(1, int(self.trainer.estimated_stepping_batches) // self.epochs)
        schedule = make_schedule(optimizer, self.config, self.lr, self.epochs, steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
