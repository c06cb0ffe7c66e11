"""Three convolutions for images of 8 pixels, almost all work in them: what the first run compresses in a minute."""

from collections import OrderedDict

from torch import nn


def _block(inputs: int, outputs: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(OrderedDict(conv=convolution, norm=nn.BatchNorm2d(outputs), relu=nn.ReLU()))


class ConvNet(nn.Sequential):
    """3 x 3 convolutions of 32, 64 and 64 channels, pooled to one Linear layer; any image of 2 pixels or more."""

    def __init__(self, classes: int = 10, channels: int = 1) -> None:
        super().__init__(
            OrderedDict(
                block1=_block(channels, 32),
                block2=_block(32, 64),
                pool=nn.MaxPool2d(2),
                block3=_block(64, 64),
                mean=nn.AdaptiveAvgPool2d(1),
                flatten=nn.Flatten(),
                fc=nn.Linear(64, classes),
            )
        )
