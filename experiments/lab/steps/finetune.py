"""`finetune EPOCHS`: training on, as the options of training say."""

from dataclasses import dataclass, replace

from lightning import Callback
from torch import nn

from checks import require

from ..evaluation.workshop import Workshop
from ..training.train import train
from .state import State, masks_of

SHARE = 1 / 20  # of the peak learning rate: what refitted factors gain by it is less than a larger step destroys


@dataclass(frozen=True)
class Finetune:
    """Trains the network on for so many epochs; the best by validation accuracy is kept, the start among them."""

    epochs: int
    images = False

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "epochs of finetune", self.epochs, "at least 1")

    def said(self, images: int) -> list[str]:
        """Say for how long."""
        return [f"fine-tuned for {self.epochs} epoch{'s' * (self.epochs != 1)}"]

    def check(self, state: State, shop: Workshop) -> State:
        """Nothing of the network can be wrong that its first batch will not show."""
        return replace(state, guessed=True, growing=None)

    def apply(self, state: State, shop: Workshop) -> State:
        """Return the network with other weights, and its validation accuracy."""
        growing = state.growing
        if growing is None:
            model = state.held()
            val = tune(model, shop, self.epochs)
            return replace(state.released(model), val=val)
        state = replace(state.all_masked(growing.layers), growing=None)
        model = state.held()
        val = tune(model, shop, self.epochs, growing.callback(self.epochs))
        masks = masks_of(model, state.masks)
        return replace(state.released(model), masks=masks, val=val)


def tune(model: nn.Module, shop: Workshop, epochs: int, growing: Callback | None = None) -> float:
    """Train a compressed network in place, on from the checkpoint; the validation accuracy of its best epoch.

    The network as it is given competes with its epochs, but for `growing`, which takes weights out of it.
    """
    training = shop.training
    return train(
        model,
        shop.dataset,
        training,
        epochs=epochs,
        lr=training.finetune_lr or training.lr * SHARE,
        batch_size=shop.batch_size,
        seed=training.seed,
        teacher=shop.dense,
        keep_start=growing is None,
        checkpoint=shop.checkpoint,
        callbacks=shop.callbacks if growing is None else [*shop.callbacks, growing],
    )
