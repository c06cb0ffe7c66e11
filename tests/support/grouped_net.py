"""A small network with every kind of layer, and images for it."""

import torch
from torch import nn


class Net(nn.Module):
    """Grouped, strided, a bias or none, a Linear over the last axis: small enough that all positions are used."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1, stride=2, dtype=torch.float64)
        self.second = nn.Conv2d(4, 6, 2, groups=2, bias=False, dtype=torch.float64)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(6, 3, dtype=torch.float64)

    def forward(self, x):
        x = self.act(self.first(x))
        x = self.act(self.second(x))
        return self.last(self.drop(x.mean((2, 3))))


LAYERS = {"first": (2, 1), "second": (4, 2), "last": (6, 1)}  # -> inputs, groups


def seeded_net():
    torch.manual_seed(1)
    return Net()


def seeded_images():
    torch.manual_seed(2)
    return torch.randn(6, 2, 6, 3, dtype=torch.float64)
