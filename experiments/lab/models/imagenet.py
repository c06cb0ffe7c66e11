"""torchvision's networks for images of 224 pixels, and their usual variants for 32, by the size of the images."""

import logging
from collections.abc import Callable
from functools import partial

from torch import nn
from torchvision import models as published

from ..config import SMALL

log = logging.getLogger(__name__)


def _stem(conv: nn.Conv2d, channels: int, kernel: int | None = None, stride: int | None = None) -> nn.Conv2d:
    """Make the first convolution for other images; initialised as torchvision's ResNet is (He et al. 2015)."""
    kernel, stride = kernel or conv.kernel_size[0], stride or conv.stride[0]
    padding = conv.padding[0] if kernel == conv.kernel_size[0] else kernel // 2
    new = nn.Conv2d(channels, conv.out_channels, kernel, stride, padding, bias=conv.bias is not None)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    return new


def _say(name: str, size: int, variant: str) -> bool:
    """Whether the images are small, said with what that means."""
    small = size <= SMALL
    log.info("%s for images of %d pixels: %s", name, size, variant if small else "as in torchvision")
    return small


def resnet(name: str, classes: int, channels: int, size: int = 224) -> nn.Module:
    """Build ResNet (He et al. 2015); small: a 3 x 3 stem of stride 1 and no max-pooling, as in Liu's pytorch-cifar."""
    model = getattr(published, name)(num_classes=classes)
    if _say(name, size, "3 x 3 stem of stride 1, no max-pooling"):
        model.conv1, model.maxpool = _stem(model.conv1, channels, 3, 1), nn.Identity()
    elif channels != 3:
        model.conv1 = _stem(model.conv1, channels)
    return model


def densenet121(classes: int, channels: int, size: int = 224) -> nn.Module:
    """Build DenseNet-121 (Huang et al. 2017); small: a 3 x 3 stem of stride 1 alone, as in Liu's pytorch-cifar."""
    model = published.densenet121(num_classes=classes)
    features = model.features
    if _say("densenet121", size, "3 x 3 stem of stride 1, no max-pooling"):
        features.conv0 = _stem(features.conv0, channels, 3, 1)
        del features.norm0, features.relu0, features.pool0
    elif channels != 3:
        features.conv0 = _stem(features.conv0, channels)
    return model


def vgg16(classes: int, channels: int, size: int = 224) -> nn.Module:
    """Build VGG-16 (Simonyan & Zisserman 2015); small: BatchNorm and one Linear layer, as in Liu's pytorch-cifar."""
    if _say("vgg16", size, "with BatchNorm and one Linear layer"):
        model = published.vgg16_bn(num_classes=classes, init_weights=False)  # its 120 M Linear weights are not wanted
        model.avgpool, model.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(512, classes)
        for layer in model.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    else:
        model = published.vgg16(num_classes=classes)
    if channels != 3:
        model.features[0] = _stem(model.features[0], channels)
    return model


def alexnet(classes: int, channels: int, size: int = 224) -> nn.Module:
    """Build AlexNet (Krizhevsky 2014); small: 3 x 3 convolutions, 2 x 2 pooling, the three large Linear layers kept.

    Most weights stay in the Linear layers, for whose sake AlexNet is compressed: 21.0 of 23.3 million for ten classes.
    """
    model = published.alexnet(num_classes=classes)
    if not _say("alexnet", size, "3 x 3 convolutions from stride 2, 2 x 2 pooling, Linear layers of 4096"):
        if channels != 3:
            model.features[0] = _stem(model.features[0], channels)
        return model
    features = model.features
    features[0], features[3] = nn.Conv2d(channels, 64, 3, 2, 1), nn.Conv2d(64, 192, 3, 1, 1)
    features[2], features[5], features[12] = (nn.MaxPool2d(2) for _ in range(3))
    model.avgpool = nn.AdaptiveAvgPool2d(2)  # what is left of 32 pixels
    model.classifier[1] = nn.Linear(256 * 2 * 2, 4096)
    return model


def mobilenet_v3_small(classes: int, channels: int, size: int = 224) -> nn.Module:
    """Build MobileNetV3-Small (Howard et al. 2019); small: a stem of stride 1, as Liu's pytorch-cifar has it for V2."""
    model = published.mobilenet_v3_small(num_classes=classes)
    stem = model.features[0]
    if _say("mobilenet_v3_small", size, "stem of stride 1"):
        stem[0] = _stem(stem[0], channels, stride=1)
    elif channels != 3:
        stem[0] = _stem(stem[0], channels)
    return model


resnet18: Callable[..., nn.Module] = partial(resnet, "resnet18")
resnet34: Callable[..., nn.Module] = partial(resnet, "resnet34")
resnet50: Callable[..., nn.Module] = partial(resnet, "resnet50")
