"""shrink: one call from a trained network and images to the smaller one, and what make_plan takes by default."""

import pytest
import torch
from torch import nn

from layers import Budget, calibrate, compress, load, make_plan, refit, save, shrink
from layers.planning import MIXED


def network():
    torch.manual_seed(0)
    parts = nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 32, 3, bias=False), nn.BatchNorm2d(32), nn.ReLU()
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)).eval()


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.rand(60, 3, 10, 10)


def test_it_is_the_four_calls(images, tmp_path):
    model = network()
    small, plan = shrink(model, ((batch, None) for batch in images.split(20)), macs=0.4)
    batches = list(images.split(20))
    stats = calibrate(model, batches)
    wanted = make_plan(model, Budget(macs=0.4), MIXED, "loss", example=images[:1], stats=stats)
    assert plan == wanted
    assert plan.after.macs <= 0.4 * plan.before.macs
    again = refit(compress(model, plan, stats=stats), model, batches, stats=stats)
    torch.testing.assert_close(small.state_dict(), again.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(model.state_dict(), network().state_dict(), rtol=0, atol=0)
    save(small, plan, tmp_path / "small")
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "small", network())(images), small(images))


def test_without_moments_a_plan_takes_two_kernels(images):
    model = network()
    plans = [make_plan(model, Budget(macs=0.4), *given, example=images[:1]) for given in ((), (("svd", "spatial"),))]
    assert plans[0] == plans[1]


@pytest.mark.parametrize(
    ("given", "macs", "message"),
    [
        ([], 0.5, "batches must be at least one batch of images, got 'none'"),
        ([torch.rand(2, 3, 10, 10)], 1.5, "macs must be"),
        ([torch.rand(2, 3, 10, 10)], 0.001, "within reach of selector loss"),
        ([torch.rand(3)], 0.5, "batch must be a tensor of images"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(given, macs, message):
    with pytest.raises(ValueError, match=message):
        shrink(network(), given, macs)


def test_a_network_that_is_no_classifier_counts_every_output_alike(images):
    model = network()[:3]
    with pytest.warns(UserWarning, match="no class scores"):
        small, plan = shrink(model, images.split(20), macs=0.6)
    assert plan.after.macs <= 0.6 * plan.before.macs
    assert small(images).shape == model(images).shape
