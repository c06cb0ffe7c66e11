"""Networks by name whose BatchNorm statistics and biases are no defaults, and images for them."""

import torch
from torch import nn
from torchvision.models import DenseNet

from experiments.lab.models import build


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
