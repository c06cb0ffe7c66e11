"""A layer whose output is added to something else is fitted to what the sum lacks."""

import pytest
import torch
from test_refit import apart, planned, tensors
from torch import nn

from experiments.lab.models.cifar_resnet import CifarResNet
from layers import Budget, calibrate, compress, make_plan, refit
from layers.fitting.additions import Additions


class Sum(nn.Module):
    """The first of two branches has lost what the other can tell from the same input."""

    def __init__(self, norm, again=False, overwriting=False):
        super().__init__()
        self.first, self.second = nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 3, padding=1, bias=not norm)
        self.norm = nn.BatchNorm2d(6) if norm else None
        self.last, self.again, self.overwriting = nn.Linear(6, 5), again, overwriting

    def forward(self, x):
        y = self.second(x)
        if self.norm is not None:
            y = self.norm(y)
        own = y.mean((2, 3)) if self.again else 0
        other = self.first(x)
        if self.overwriting:
            x.zero_()
        y += other
        return self.last(y.mean((2, 3)) + own)


def spread(norm):
    """A BatchNorm as a trained network has it."""
    for parameter in norm.parameters():
        nn.init.uniform_(parameter, 0.5, 2)
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)


def halves(norm, **options):
    torch.manual_seed(0)
    model, images = Sum(norm, **options).eval(), torch.randn(1000, 4, 5, 5)
    images = nn.functional.avg_pool2d(nn.functional.pad(images, [1] * 4), 3, 1) @ torch.randn(5, 5)  # not white
    if norm:
        spread(model.norm)
    small = compress(model, planned(first=("svd", {"rank": 1}), second=("svd", {"rank": 6})))
    return model, small, images


@pytest.mark.parametrize("norm", [False, True])
def test_what_one_summand_lost_the_other_gives(norm):
    model, small, images = halves(norm)
    stats = calibrate(model, images.split(250))
    again = refit(small, model, images.split(250), stats=stats)
    assert apart(again, model, images) < apart(small, model, images) / 20
    assert (tensors(again)["second.1.weight"] != tensors(small)["second.1.weight"]).any()


@pytest.mark.parametrize("option", ["again", "overwriting"])
def test_what_is_read_elsewhere_or_cannot_be_computed_anew_is_fitted_to_itself(option):
    model, small, images = halves(False, **{option: True})
    again = refit(small, model, images.split(250), held_out=0)
    with torch.no_grad():
        torch.testing.assert_close(again.second(images), model.second(images), atol=1e-2, rtol=1e-2)


def test_only_an_addition_is_no_other_use():
    found, x = [], torch.ones(2, 3)
    with Additions(lambda name, y, other: found.append((name, y, other))) as additions:
        outputs = {name: x.clone() for name in "abcdefgh"}
        for name, y in outputs.items():
            additions.note(name, y)
        a, b, c, d, e, f, g, h = outputs.values()
        a + x
        a.shape, a.size(0), a.dtype  # what is no tensor reads nothing
        b.relu()
        torch.cat([c, x])
        d + 1
        torch.add(e, x, alpha=2)
        x + f
        f * 2
        h + h
        g += x
        g * 2  # it is the sum
    assert [(name, y is outputs[name] or name == "g", other is x) for name, y, other in found] == [
        ("a", True, True),
        ("f", True, True),
        ("g", True, True),
    ]
    assert additions.elsewhere == {"b", "c", "d", "e", "f", "h"}


def test_a_residual_network_is_nearer_for_it(monkeypatch):
    """Not of one block alone: without it each layer is fitted to the outputs that it had."""
    torch.manual_seed(0)
    model = CifarResNet(14).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            spread(module)
    images = torch.randn(64, 3, 16, 16)
    stats = calibrate(model, images.split(32))
    small = compress(model, make_plan(model, Budget(macs=0.5), ("svd",), example=images[:1], stats=stats), stats=stats)
    summed = refit(small, model, images.split(32), stats=stats, held_out=0)
    monkeypatch.setattr(Additions, "_summand", lambda self, args: None)
    alone = refit(small, model, images.split(32), stats=stats, held_out=0)
    assert apart(summed, model, images) < apart(alone, model, images)
