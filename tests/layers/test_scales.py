"""Weights of any size are compressed as weights of size one are: a unit is no reason for another plan."""

import functools

import pytest
import torch
from torch import nn

from layers import METHODS, SELECTORS, Budget, calibrate, compress, make_plan

SCALES = {"1e20": (1e20, torch.float32), "1e-25": (1e-25, torch.float32), "1e-40": (1e-40, torch.float32)}
SCALES |= {"1e160": (1e160, torch.float64), "1e-160": (1e-160, torch.float64)}


def layer(scale=1.0, dtype=torch.float32):
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 8, 3, bias=False).to(dtype)
    conv.weight.data *= scale
    return nn.Sequential(conv)


def images(dtype):
    return torch.randn(2, 6, 5, 5, dtype=dtype, generator=torch.Generator().manual_seed(1))


def planned(net, kernel, selector, dtype):
    """The plan, and what the network of it answers."""
    plan = make_plan(net, Budget(params=0.7), (kernel,), selector, example=images(dtype))
    return plan, compress(net, plan)(images(dtype))


@functools.cache
def of_size_one(kernel, selector, dtype):
    return planned(layer(dtype=dtype), kernel, selector, dtype)


@pytest.mark.parametrize("kernel", METHODS)
@pytest.mark.parametrize("name", SCALES)
def test_forms_and_factors_know_no_unit(kernel, name):
    scale, dtype = SCALES[name]
    for selector in SELECTORS:
        if selector == "loss" or (SELECTORS[selector].by_ranks and METHODS[kernel].scheme is None):
            continue
        plan, want = of_size_one(kernel, selector, dtype)
        scaled, got = planned(layer(scale, dtype), kernel, selector, dtype)
        if name == "1e-40":  # denormal numbers of float32 have three digits
            assert scaled.layers[0].error == pytest.approx(plan.layers[0].error, rel=0.1)
            continue
        assert plan.layers[0].spec == scaled.layers[0].spec
        assert scaled.layers[0].error == pytest.approx(plan.layers[0].error, rel=1e-3)
        torch.testing.assert_close(got / scale, want, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kernel", ["svd", "spatial", "tucker", "cp", "cp4", "ht", "dct"])
def test_tiny_gradients_choose_as_large_ones_do(kernel):
    """The gradients of a network that is right about every image, and with them the predicted loss, may vanish."""
    net, x = nn.Sequential(*layer(), nn.Flatten(), nn.Linear(8 * 9, 3)), torch.randn(30, 6, 5, 5)
    stats = calibrate(net, [x])

    def fainter(moments):
        eigen = moments.eigen._replace(values=1e-60 * moments.eigen.values)
        return moments._replace(outputs=1e-60 * moments.outputs, eigen=eigen)

    layers = {name: fainter(moments) for name, moments in stats.layers.items()}
    faint = type(stats)(layers, stats.images, stats.loss_aware)
    plans = [make_plan(net, Budget(params=0.6), (kernel,), example=x[:1], stats=s) for s in (stats, faint)]
    assert [row.spec for row in plans[0].layers] == [row.spec for row in plans[1].layers]
    for row, other in zip(*(plan.layers for plan in plans)):
        assert other.error == pytest.approx(1e-60 * row.error, rel=1e-2)
    assert compress(net, plans[1], stats=faint)(x).isfinite().all()
