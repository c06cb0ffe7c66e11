"""Weights set to zero a few at a time while training goes on."""

import math
from collections.abc import Mapping
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from layers.thinning import gradual, masks

from .classifier import Classifier

RISING = 2 / 3  # of the epochs; in the others what is left makes up for the last that went


class Gradual(Callback):
    """Raises the share of zeros at the start of each epoch, along the cubic of Zhu & Gupta (2017).

    The network's weights are masked already; masks only grow.  Epochs with fewer zeros than the share at the end do
    not count as the best one.  All follows from the epoch and the weights, so that a training goes on bit for bit.
    """

    def __init__(self, share: float, score: str, kinds: Any, per_layer: bool, epochs: int) -> None:
        self.share, self.score, self.kinds, self.per_layer = share, score, kinds, per_layer
        self.rising = max(1, math.ceil(RISING * epochs))

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        """Choose the masks of this epoch by the weights that it begins with."""
        epoch, classifier = trainer.current_epoch, module
        assert isinstance(classifier, Classifier)
        if epoch >= self.rising:
            return
        networks = [classifier.model, *([] if classifier.average is None else [classifier.average.module])]
        share = gradual(epoch, self.rising, self.share)
        chosen = masks(networks[0], share, self.score, self.kinds, per_layer=self.per_layer)
        for network in networks:
            _mask(network, chosen)
        classifier.best_accuracy = -1.0  # of weights of which too many are left


def _mask(network: nn.Module, chosen: Mapping[str, Tensor]) -> None:
    """Let weights that are masked already keep only what is chosen too, in place."""
    for name, keep in chosen.items():
        layer: Any = network.get_submodule(name)
        layer.parametrizations.weight[0].mask.mul_(keep)
