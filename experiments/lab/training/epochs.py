"""What a training shows on the way: a sign of life that counts the batches of all its epochs."""

from contextlib import ExitStack
from typing import Any

import lightning

from ..progress import Sign, stage


class Epochs(lightning.Callback):
    """Shows a training, all batches of its epochs counted, with the mean loss of late steps and the last validation."""

    def __init__(self) -> None:
        self.stack, self.sign, self.first = ExitStack(), Sign("", None), 0

    def on_train_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Begin to show."""
        self.first, epochs = trainer.current_epoch, trainer.max_epochs or 1  # a training may go on where it was killed
        total = int(trainer.num_training_batches) * (epochs - self.first)
        self.sign = self.stack.enter_context(stage("training", total))

    def on_train_epoch_start(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """Name the epoch."""
        self._describe(trainer, module)

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: lightning.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Count one more."""
        self.sign.done = (trainer.current_epoch - self.first) * int(trainer.num_training_batches) + index + 1
        self._describe(trainer, module)

    def _describe(self, trainer: lightning.Trainer, module: Any) -> None:
        """Name the epoch, with numbers that are on the CPU already: a look at one on the GPU would wait for it."""
        shown = "".join(f", {name} {value:.3g}" for name, value in module.shown.items())
        self.sign.words = f"epoch {trainer.current_epoch + 1} of {trainer.max_epochs}{shown}, batch"

    def on_train_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        """End, also where a training is interrupted or stopped early."""
        self.stack.close()

    def on_exception(self, trainer: lightning.Trainer, module: lightning.LightningModule, exception: Any) -> None:
        """End."""
        self.stack.close()
