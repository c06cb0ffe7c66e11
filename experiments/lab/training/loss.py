"""The loss of a training step: cross-entropy against labels, mixed and smoothed or not, and against a teacher."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from torchvision.transforms import v2

from layers.network import copy_of

from ..config import Training


def distillation(logits: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) | softmax(logits / T)), the mean over images (Hinton et al. 2015, section 2)."""
    soft, softer = log_softmax(logits / temperature, 1), log_softmax(teacher / temperature, 1)
    return temperature**2 * kl_div(soft, softer, reduction="batchmean", log_target=True)


def ordered(images: Tensor, config: Training) -> Tensor:
    """Return the images in the memory format that is asked for."""
    return images.contiguous(memory_format=torch.channels_last) if config.channels_last else images


class Loss:
    """(network, images, labels) -> scalar, as configured.

    No module: the teacher is no part of what is trained, saved or set to train mode.
    """

    def __init__(self, config: Training, classes: int, teacher: nn.Module | None = None) -> None:
        self.config = config
        # a copy: it changes device
        self.teacher = None if teacher is None or not config.distill else copy_of(teacher).eval()
        mixes = [
            kind(alpha=alpha, num_classes=classes)
            for kind, alpha in ((v2.MixUp, config.mixup), (v2.CutMix, config.cutmix))
            if alpha
        ]
        self.mix = v2.RandomChoice(mixes) if mixes else None

    def to(self, device: torch.device) -> None:
        """Move the teacher to where the network is."""
        if self.teacher is not None:
            self.teacher.to(device)
            if self.config.channels_last:
                self.teacher.to(memory_format=torch.channels_last)

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        if self.mix is not None:
            images, labels = self.mix(images, labels)
        images = ordered(images, self.config)
        logits = model(images)
        loss = cross_entropy(logits, labels, label_smoothing=self.config.label_smoothing)
        if self.teacher is None:
            return loss
        with torch.no_grad():
            answers = self.teacher(images)
        weight = self.config.distill
        return (1 - weight) * loss + weight * distillation(logits, answers, self.config.temperature)
