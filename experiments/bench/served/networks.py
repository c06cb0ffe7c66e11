"""The networks, of random weights, and the plans for half their multiply-accumulates."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from layers import Budget, Plan, Serving, make_plan, prune_channels
from layers.network import copy_of
from layers.planning import MIXED, carry_out, noise

WIDTHS = (32, 64, 128, 128, 256, 256, *[512] * 6, 1024, 1024)
STRIDES = (1, 2, 1, 2, 1, 2, *[1] * 5, 2, 1)
HALF, SHARE = Budget(macs=0.5), Budget(latency=0.5)
TIMED = ("svd", "spatial", "tucker")  # of which a plan by time chooses, as other kernels have more layers to start


def mobilenet() -> nn.Module:
    """MobileNet v1 (Howard et al. 2017, table 1): depthwise 3 x 3 and 1 x 1 in turn, BatchNorm and ReLU after each."""

    def layer(inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
        conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))

    blocks = [layer(3, WIDTHS[0], 3, 2)]
    for (inputs, outputs), stride in zip(pairwise(WIDTHS), STRIDES):
        blocks += [layer(inputs, inputs, 3, stride, inputs), layer(inputs, outputs, 1)]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTHS[-1], 1000))


BUILD: dict[str, Callable[[], nn.Module]] = {
    "resnet18": torchvision.models.resnet18,
    "resnet50": torchvision.models.resnet50,
    "vgg16": torchvision.models.vgg16,
    "mobilenet": mobilenet,
    "squeezenet": torchvision.models.squeezenet1_1,
}


def network(name: str) -> nn.Module:
    """Return the dense network: the same numbers every time."""
    torch.manual_seed(0)
    return BUILD[name]().eval()


def images(batch: int, size: int) -> Tensor:
    """Return noise, which takes as long as photographs."""
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(1))


def plan(model: nn.Module, way: str, x: Tensor, serving: Serving, cache: Path) -> Plan:
    """Plan the convolutions: Linear layers are 1 % of VGG-16's MACs, and the decomposition of one takes minutes.

    Of random weights no kernel is better than another by much, so that one alone gets the same share of every layer.
    """

    def where(_: str, layer: nn.Module) -> bool:
        return isinstance(layer, nn.Conv2d)

    if way == "latency":
        return make_plan(model, SHARE, TIMED, "energy", example=x, where=where, serving=serving, cache=cache)
    kernels, selector = (MIXED, "energy") if way == "auto" else ((way,), "uniform")
    return make_plan(model, HALF, kernels, selector, example=x[:1], where=where, cache=cache)


def thinned(model: nn.Module, x: Tensor) -> nn.Module:
    """Return the network with half the multiply-accumulates by fewer channels, in multiples of 16 where it is wide."""
    return prune_channels(model, None, x[:1], nn.Conv2d, macs=HALF.fraction).model.eval()


def planned(model: nn.Module, chosen: Plan) -> nn.Module:
    """Return the network of a plan, factors of noise: times do not depend on them."""
    return carry_out(copy_of(model), chosen, lambda _, row, layer, spec: noise(row.shell(layer, spec))).eval()
