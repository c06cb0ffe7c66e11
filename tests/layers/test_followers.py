"""A BatchNorm right after a layer takes its mean away as a bias would, and only where nothing else reads between."""

import copy

import pytest
import torch
from torch import nn

from layers import Budget, calibrate, compress, load, make_plan, refit, save


class Net(nn.Module):
    """Convolutions before BatchNorms: alone, read elsewhere, changed on the way, called twice, with a bias."""

    def __init__(self):
        super().__init__()
        names = ("alone", "read", "doubled", "twice", "biased")
        self.convs = nn.ModuleDict({name: nn.Conv2d(4, 4, 3, padding=1, bias=name == "biased") for name in names})
        self.norms = nn.ModuleDict({name: nn.BatchNorm2d(4) for name in names})
        self.linear, self.last_norm, self.last = nn.Linear(4, 6, bias=False), nn.BatchNorm1d(6), nn.Linear(6, 3)

    def forward(self, x):
        x = self.norms["alone"](self.convs["alone"](x)).relu()
        y = self.convs["read"](x)
        x = self.norms["read"](y).relu() + y
        x = self.norms["doubled"](self.convs["doubled"](x).mul_(2)).relu()
        for _ in range(2):
            x = self.norms["twice"](self.convs["twice"](x)).relu()
        x = self.norms["biased"](self.convs["biased"](x)).relu()
        return self.last(self.last_norm(self.linear(x.mean((2, 3)))).relu())


@pytest.fixture
def net():
    torch.manual_seed(0)
    net = Net()
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return net.eval()


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(40, 4, 2, 4) + 2  # so few positions that calibration takes all


def test_what_alone_reads_a_layer_is_found(net, images):
    found = {name: seen.norm for name, seen in calibrate(net, [images]).layers.items()}
    assert found == {
        "convs.alone": "norms.alone",
        "convs.read": "",
        "convs.doubled": "",
        "convs.twice": "",
        "convs.biased": "norms.biased",
        "linear": "last_norm",
        "last": "",
    }
    assert not any(seen.norm for seen in calibrate(net, [images], loss_aware=False).layers.values())


def mean_after(network, name, images):
    """The mean that the BatchNorm puts out."""
    seen = []
    hook = network.get_submodule(name).register_forward_hook(lambda m, args, y: seen.append(y))
    with torch.no_grad():
        network(images)
    hook.remove()
    return seen[0].transpose(0, 1).flatten(1).mean(1)


@pytest.mark.parametrize(
    ("kernel", "which"), [("svd", "alone"), ("spatial", "alone"), ("dct", "alone"), ("svd", "biased")]
)
def test_the_mean_after_the_norm_is_kept(net, images, kernel, which):
    def first(name, layer):
        return name == f"convs.{which}"

    stats = calibrate(net, [images])
    plan = make_plan(net, Budget(params=0.9), (kernel,), example=images, stats=stats, where=first)
    small = compress(net, plan, stats=stats)
    assert [row.kernel for row in plan.layers if row.kernel] == [kernel]
    want = mean_after(net, f"norms.{which}", images)
    torch.testing.assert_close(mean_after(small, f"norms.{which}", images), want, rtol=1e-3, atol=1e-3)
    if kernel != "dct":
        better = refit(small, net, [images], stats=stats, held_out=0)
        torch.testing.assert_close(mean_after(better, f"norms.{which}", images), want, rtol=1e-3, atol=1e-3)
    far = mean_after(compress(net, plan), f"norms.{which}", images)
    assert float((far - want).abs().max()) > 0.05


def test_the_linear_layer_too_and_what_is_saved_loads_into_the_plain_network(net, images, tmp_path):
    def linear(name, layer):
        return name == "linear"

    stats = calibrate(net, [images])
    plan = make_plan(net, Budget(params=0.99), ("svd",), example=images, stats=stats, where=linear)
    small = refit(compress(net, plan, stats=stats), net, [images], stats=stats, held_out=0)
    wants = [mean_after(net, "last_norm", images), mean_after(small, "last_norm", images)]
    save(small, plan, tmp_path / "small")
    again = load(tmp_path / "small", copy.deepcopy(net))
    with torch.no_grad():
        assert torch.equal(again(images), small(images))
    torch.testing.assert_close(*wants, rtol=1e-3, atol=1e-3)


def test_a_norm_of_another_network_is_refused(net, images):
    stats = calibrate(net, [images])
    net.norms["alone"] = nn.Identity()
    with pytest.raises(ValueError, match=r"a layer 'convs.alone' with 'norms.alone' after it"):
        make_plan(net, Budget(params=0.5), ("svd",), example=images, stats=stats)
