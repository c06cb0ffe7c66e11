"""A little training: images whose brightness is their class, one layer, and settings that hide no arithmetic."""

import torch
from torch import nn

from experiments.lab.config import Training
from experiments.lab.data import Dataset, Preprocessing, Split
from experiments.lab.training.train import train


def little(images=64, classes=2, channels=1, size=4):
    """Images whose brightness is their class."""
    labels = torch.arange(images) % classes
    draw = torch.Generator().manual_seed(0)
    noise = torch.randint(60, (images, channels, size, size), generator=draw)
    split = Split((noise + 190 // (classes - 1) * labels[:, None, None, None]).to(torch.uint8), labels)
    names = [str(label) for label in range(classes)]
    preprocessing = Preprocessing((0.5,) * channels, (0.3,) * channels)
    return Dataset(lambda: split, lambda: split, lambda: split, names, preprocessing, 1)


class Linear(nn.Sequential):
    def __init__(self, inputs=16, classes=2, zero=True):
        super().__init__(nn.Flatten(), nn.Linear(inputs, classes))
        for parameter in self.parameters() if zero else ():
            nn.init.zeros_(parameter)


def fit(model, dataset, config=None, epochs=1, lr=0.1, batch=64, **more):
    return train(model, dataset, config or PLAIN, epochs=epochs, lr=lr, batch_size=batch, seed=0, **more)


PLAIN = Training(optimizer="sgd", momentum=0.0, weight_decay=0.0, schedule="constant", accelerator="cpu", rep=True)
