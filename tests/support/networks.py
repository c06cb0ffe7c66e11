"""Networks by name whose BatchNorm statistics and biases are no defaults, and images for them."""

import torch
from torch import nn
from torchvision.models import DenseNet

from experiments.lab.models import build
from experiments.lab.models.lenet import LeNet
from layers import calibrate


def network(name):
    """(network whose BatchNorm statistics and biases are no defaults, two images)."""
    torch.manual_seed(0)
    small = {"densenet": lambda: DenseNet(8, (3, 2), 16, num_classes=10)}
    channels = 1 if name == "lenet" else 3
    model = small[name]() if name in small else build(name, 10, channels, 32)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.normal_(module.running_mean)
    return model.eval(), torch.randn(2, channels, 32, 32)


def three_layers():
    """(two convolutions and a Linear layer, images, what calibration saw of them)."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.Flatten(), nn.Linear(192, 5))
    images = torch.randn(40, 3, 8, 8)
    return net, images, calibrate(net, [images])


class Rolled(nn.Module):
    """Turns channels around, which torch-pruning takes for an operation on each of them."""

    def __init__(self, classes=10):
        super().__init__()
        self.one, self.two, self.last = nn.Conv2d(1, 8, 1), nn.Conv2d(8, 8, 1), nn.Linear(8, classes)

    def forward(self, x):
        return self.last(self.two(self.one(x).roll(1, 1)).mean((2, 3)))


class Copied(Rolled):
    """Goes through NumPy, where no graph of it can be had."""

    def forward(self, x):
        return torch.from_numpy(super().forward(x).numpy())


def rolled(classes, channels):
    """A network of the user's, `--model networks:rolled`, that torch-pruning gets wrong."""
    return Rolled(classes)


def copied(classes, channels):
    """A network of the user's, `--model networks:copied`, that it cannot trace."""
    return Copied(classes)


def no_factory():
    """A function of the user's that makes a network of no number of classes."""
    return LeNet()


def wide(classes=10, channels=1):
    """A network for images of 8 x 8 pixels alone."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64 * channels, classes))


class Few(LeNet):
    """A network that takes no more than four images at once."""

    def forward(self, x):
        return super().forward(x).reshape(min(len(x), 4), 10)


class Named(LeNet):
    """A network that answers by name, as detectors do."""

    def forward(self, x):
        return {"logits": super().forward(x)}
