"""calibrate, make_plan, compress, refit in a row, on networks of other people, without a special case."""

import sys

import pytest
import torch
import torchvision
from torch import nn

from layers import Budget, calibrate, compress, cost, make_plan, reestimate_batchnorm, refit

KERNELS = ("svd", "spatial", "tucker", "ht")


def densenet():
    return torchvision.models.densenet121(num_classes=10)


def mobilenet():
    return torchvision.models.mobilenet_v3_small(num_classes=10)


def vgg():
    """Its convolutions; a classifier of 4096 x 25088 would take minutes of singular values."""
    model = torchvision.models.vgg16_bn(num_classes=10)
    model.avgpool, model.classifier = nn.AdaptiveAvgPool2d(1), nn.Linear(512, 10)
    return model


@pytest.mark.parametrize(
    ("factory", "size", "kernels"),
    [
        (mobilenet, 64, KERNELS),
        pytest.param(densenet, 64, ("svd",), marks=pytest.mark.slow),
        pytest.param(vgg, 32, ("svd",), marks=pytest.mark.slow),
    ],
)
def test_the_same_four_steps(factory, size, kernels, monkeypatch):
    monkeypatch.setattr(sys.modules["layers.calibration.calibrate"], "MOST_ROWS", 1152)  # minutes, and no other promise
    torch.manual_seed(0)
    images = torch.randn(16, 3, size, size)
    model, batches = reestimate_batchnorm(factory(), [images]).eval(), images.split(8)  # each map of unit variance
    stats = calibrate(model, batches)
    plan = make_plan(model, Budget(macs=0.7), kernels, example=images[:1], stats=stats)
    assert plan.selector == "loss"
    small = compress(model, plan, stats=stats)
    assert cost(small, images[:1]) == plan.after
    assert plan.after.macs <= 0.7 * plan.before.macs
    again = refit(small, model, batches, stats=stats, held_out=0)  # of sixteen images of noise none may be missing
    with torch.no_grad():
        dense = model(images)
        errors = [float((net(images) - dense).norm() / dense.norm()) for net in (small, again)]
    assert errors[1] < errors[0]
