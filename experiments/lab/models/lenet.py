"""LeNet-5 for 32 x 32 images (LeCun et al. 1998, figure 2, with ReLU and max pooling)."""

from collections import OrderedDict

from torch import nn


def _front(channels: int) -> dict[str, nn.Module]:
    """Return layers C1 to S4: (n, channels, 32, 32) to (n, 16, 5, 5)."""
    return {
        "conv1": nn.Conv2d(channels, 6, 5),
        "relu1": nn.ReLU(),
        "pool1": nn.MaxPool2d(2),
        "conv2": nn.Conv2d(6, 16, 5),
        "relu2": nn.ReLU(),
        "pool2": nn.MaxPool2d(2),
    }


class LeNet(nn.Sequential):
    """Two 5 x 5 convolutions and three Linear layers; 61,706 parameters for ten classes of grey images."""

    def __init__(self, classes: int = 10, channels: int = 1) -> None:
        super().__init__(
            OrderedDict(
                **_front(channels),
                flatten=nn.Flatten(),
                fc1=nn.Linear(400, 120),
                relu3=nn.ReLU(),
                fc2=nn.Linear(120, 84),
                relu4=nn.ReLU(),
                fc3=nn.Linear(84, classes),
            )
        )


class LeNet5(nn.Sequential):
    """The same network with layer C5 as the 120 filters of 5 x 5 that it is in the paper, and two Linear layers.

    As many parameters; it differs once convolutions and Linear layers are treated differently.
    """

    def __init__(self, classes: int = 10, channels: int = 1) -> None:
        super().__init__(
            OrderedDict(
                **_front(channels),
                conv3=nn.Conv2d(16, 120, 5),
                relu3=nn.ReLU(),
                flatten=nn.Flatten(),
                fc1=nn.Linear(120, 84),
                relu4=nn.ReLU(),
                fc2=nn.Linear(84, classes),
            )
        )
