"""Whole channels taken out: the right ones, everywhere they reach, and kept by checkpoints."""

import copy
import itertools
import math
import re
from dataclasses import replace

import pytest
import torch
from loaders import loader
from networks import Copied, Rolled, network
from torch import nn

from experiments.lab.models.lenet import LeNet
from layers import Budget, Plan, compress, cost, fold, load, make_plan, prune_channels, save
from layers.checkpoint.export import program
from layers.thinning import mask, masks


def outputs(model):
    kinds = (nn.Conv2d, nn.Linear)
    return {name: module.weight.shape[0] for name, module in model.named_modules() if isinstance(module, kinds)}


def keeps_its_outputs(name, layer):
    """Whether a layer of that network is at its end, or on a path with padded shortcuts."""
    if name == "resnet20":
        return not re.fullmatch(r"layer\d\.\d\.conv1", layer)
    return layer in ("fc", "fc3", "classifier", "classifier.3")


MODELS = ["lenet", "resnet18", "resnet20", "vgg16", "densenet", "mobilenet_v3_small"]
QUICK = [*((name, 0.5) for name in MODELS), *((name, 0.3) for name in ("lenet", "resnet20", "mobilenet_v3_small"))]
CASES = itertools.product([*MODELS, "densenet121", "resnet50"], (0.5, 0.3))
SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in CASES if case not in QUICK]  # larger, or as a quick one


@pytest.mark.parametrize(("name", "fraction"), [*QUICK, *SLOW])
def test_every_layer_loses_its_share_and_checkpoints_keep_the_rest(name, fraction, tmp_path):
    model, x = network(name)
    before = copy.deepcopy(model.state_dict())
    thin, widths = prune_channels(model, fraction, x, round=1)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))
    for layer, count in outputs(model).items():
        left = count if keeps_its_outputs(name, layer) else math.floor(count * (1 - fraction) + 1e-6)
        assert outputs(thin)[layer] == left, layer
    dense, now = cost(model, x[:1]), cost(thin, x[:1])
    assert all(after < 0.85 * whole for after, whole in zip(now, dense))
    plan = Plan((), Budget(params=1.0), "energy", dense, now, widths=widths)
    save(thin, plan, tmp_path / "thin")
    torch.manual_seed(1)
    for read in (load, loader(tmp_path / "thin")):
        fresh = copy.deepcopy(model)
        for parameter in fresh.parameters():
            nn.init.normal_(parameter)
        with torch.no_grad():
            assert torch.equal(read(tmp_path / "thin", fresh)(x), thin(x))
    assert Plan.load(tmp_path / "thin" / "plan.json") == plan


def test_channels_of_the_least_norm_go_with_what_depends_on_them():
    model = nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.Flatten(), nn.Linear(2, 3)).eval()
    with torch.no_grad():
        # squares of what writes and what reads each channel: 1 + 32, 16 + 2, 4 + 8, 9 + 50
        model[0].weight.copy_(torch.tensor([1.0, 4.0, 2.0, 3.0]).reshape(4, 1, 1, 1))
        model[2].weight.copy_(torch.tensor([[4.0, 1.0, 2.0, 5.0], [4.0, 1.0, 2.0, 5.0]]).reshape(2, 4, 1, 1))
        model[4].weight.copy_(torch.tensor([[1.0, 2.0]] * 3))
    thin, widths = prune_channels(model, 0.5, torch.ones(1, 1, 1, 1))
    assert thin[0].weight.flatten().tolist() == [1, 3]
    assert torch.equal(thin[0].bias, model[0].bias[[0, 3]])
    assert thin[2].weight.flatten().tolist() == [4, 5]  # of two that are written alike the one that is read more
    assert torch.equal(thin[2].bias, model[2].bias[1:])
    assert thin[4].weight.tolist() == [[2]] * 3
    assert widths == {
        "0": {"out_channels": 2},
        "2": {"in_channels": 2, "out_channels": 1},
        "4": {"in_features": 1},
    }


def test_what_is_chosen_is_the_same_in_training_mode_frozen_and_without_gradients():
    model, x = network("resnet20")
    wanted = prune_channels(model, 0.5, x).model
    frozen = copy.deepcopy(model).train().requires_grad_(False)
    with torch.no_grad():
        thin = prune_channels(frozen, 0.5, x).model
    assert all(torch.equal(a, b) for a, b in zip(wanted.state_dict().values(), thin.state_dict().values()))
    assert all(module.training for module in thin.modules())
    assert not any(parameter.requires_grad for parameter in thin.parameters())
    none = prune_channels(model, 0.0, x)
    assert none.widths == {}
    assert torch.equal(none.model(x), model(x))


def test_kinds_choose_layers():
    model, x = network("lenet")
    conv, linear = (outputs(prune_channels(model, 0.5, x, kind, round=1).model) for kind in (nn.Conv2d, nn.Linear))
    assert conv == {"conv1": 3, "conv2": 8, "fc1": 120, "fc2": 84, "fc3": 10}
    assert linear == {"conv1": 6, "conv2": 16, "fc1": 60, "fc2": 42, "fc3": 10}


def test_nine_tenths_of_ten_channels_are_nine():
    model = nn.Sequential(nn.Conv2d(1, 10, 1), nn.Flatten(), nn.Linear(160, 3))  # 10 * (1 - 0.9) is below 1 in floats
    assert prune_channels(model, 0.9, torch.ones(2, 1, 4, 4), round=1).widths == {
        "0": {"out_channels": 1},
        "2": {"in_features": 16},
    }


def test_grouped_convolutions_and_shared_layers(tmp_path):
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 3, padding=1)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3), layer, nn.ReLU(), layer, nn.Conv2d(8, 16, 3, groups=4), nn.Flatten(), nn.Linear(256, 5)
    ).eval()
    x = torch.randn(2, 3, 8, 8)
    thin, widths = prune_channels(model, 0.5, x)
    assert thin[1] is thin[3]
    assert (thin[4].groups, thin[4].in_channels, thin[4].out_channels) == (4, 4, 8)
    save(thin, Plan((), Budget(params=1.0), "energy", cost(model, x), cost(thin, x), widths=widths), tmp_path / "thin")
    for read in (load, loader(tmp_path / "thin")):
        got = read(tmp_path / "thin", model)
        assert got[1] is got[3]
        assert torch.equal(got(x), thin(x))


@pytest.mark.parametrize(
    ("name", "kernels"),
    [
        ("lenet", ("svd",)),
        ("lenet", ("spatial", "dct")),
        pytest.param("mobilenet_v3_small", ("tucker", "svd"), marks=pytest.mark.slow),
    ],
)
def test_the_thinner_network_is_compressed_pruned_and_saved(name, kernels, tmp_path):
    model, x = network(name)
    thin, widths = prune_channels(model, 0.25, x)
    plan = replace(make_plan(thin, Budget(params=0.9), kernels, example=x[:1]), widths=widths)
    small = compress(thin, plan)
    small = small if "dct" in kernels else fold(mask(small, masks(small, 0.5))).eval()
    assert {row.kernel for row in plan.layers} - {None} <= set(kernels)
    assert any(row.kernel for row in plan.layers)
    save(small, plan, tmp_path / "small", example=x)
    with torch.no_grad():
        for read in (load, loader(tmp_path / "small")):
            assert torch.equal(read(tmp_path / "small", model)(x), small(x))
        traced = torch.export.load(tmp_path / "small" / "program.pt2").module()
        torch.testing.assert_close(traced(torch.cat([x, x])), small(torch.cat([x, x])), rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(program(thin, x).module()(x), thin(x), rtol=1e-4, atol=1e-4)


class Wide(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


def tied():
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3))
    model[1].weight = model[0].weight
    return model


IMAGE = torch.ones(2, 1, 4, 4)
REFUSED = {
    "a share of 1": (LeNet(), 1.0, None, "share of channels to take out must be at least 0 and below 1, got 1.0"),
    "too large a share": (LeNet(), 0.9, None, "small enough to leave layer 'conv1' one of its 6, got 0.9"),
    "one layer": (nn.Sequential(nn.Linear(4, 3)), 0.5, torch.ones(2, 4), "model must be one with channels that can be"),
    "no layer": (nn.ReLU(), 0.5, torch.ones(2, 4), "model must be one "),
    "channels turned around": (Rolled(), 0.5, IMAGE, "answers without the channels .* set to zero, got 'Rolled'"),
    "no graph": (Copied(), 0.5, IMAGE, "must be one that torch-pruning can trace, got Copied"),
    "another kind of layer": (
        nn.Sequential(Wide(1, 4, 1), nn.Flatten(), nn.Linear(64, 3)),
        0.5,
        IMAGE,
        "layer must be a plain Conv2d, Linear, .*, got Wide",
    ),
    "tied weights": (tied(), 0.5, torch.ones(2, 6), "cannot be swapped: its parameters are tied"),
}


@pytest.mark.parametrize("which", REFUSED)
def test_what_cannot_be_pruned_is_refused_in_a_sentence(which):
    model, fraction, x, words = REFUSED[which]
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=words) as error:
        prune_channels(model, fraction, torch.ones(1, 1, 32, 32) if x is None else x)
    assert "\n" not in str(error.value)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))
