"""Training as 8-bit integers will compute: rounded on the way forward, exact on the way back, and gone afterwards."""

import copy

import onnx
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn.functional import cross_entropy

from layers import OnnxNetwork
from layers.checkpoint.int8 import aware, quantised, rounding_aware
from layers.thinning import mask, masks, steps

X = torch.rand(64, 3, 8, 8, generator=torch.Generator().manual_seed(1))
WEIGHTED = ("0", "3", "5")


def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(128, 4)).eval()


def whole_numbers(layer):
    numbers = layer.weight / steps(layer.weight, 8)
    assert (numbers - numbers.round()).abs().max() < 1e-4
    return numbers.round().detach()


def test_inside_it_answers_as_the_file_does_and_after_it_the_quantiser_finds_its_weights():
    dense, model = network(), network()
    with rounding_aware(model, [X]), torch.no_grad():
        inside = model(X)
    with torch.no_grad():
        wanted = dense(X)
    answers = OnnxNetwork(quantised(model, [X], compensate=False))(X)
    assert 0 < (inside - wanted).norm() < 0.05 * wanted.norm()
    assert (inside - answers).norm() < 0.7 * (wanted - answers).norm()
    graph = onnx.load_from_string(quantised(model, [X], compensate=False)).graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    integers = [array for array in stored.values() if array.dtype.name == "int8" and array.ndim > 1]
    for name in WEIGHTED:
        numbers = whole_numbers(model.get_submodule(name))
        assert any(array.shape == tuple(numbers.shape) and (array == numbers.numpy()).all() for array in integers), name


def test_gradients_are_those_of_the_weights_that_compute():
    model = nn.Sequential(nn.Linear(4, 2)).train()
    x = torch.rand(8, 4, generator=torch.Generator().manual_seed(2))
    with rounding_aware(model, [x]):
        model(x).square().sum().backward()
        (trained,) = (p for name, p in model.named_parameters() if "original" in name)
        rounded = model[0].weight.detach()
        read = model[0].rounded_input(x)
        by_hand = 2 * (read @ rounded.T + model[0].bias).T @ read
        torch.testing.assert_close(trained.grad, by_hand.detach())
        assert not torch.equal(trained, rounded)


def test_training_lowers_the_loss_of_the_rounded_network_and_zeros_stay_zero():
    torch.manual_seed(3)
    labels = torch.randint(4, (64,))
    model = network()
    model = mask(model, masks(model, 0.5))
    zero = {name: model.get_submodule(name).weight.detach() == 0 for name in WEIGHTED}
    with rounding_aware(model, X.split(32)):
        keys = set(model.state_dict())
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), 0.05)
        losses = []
        for _ in range(10):
            loss = cross_entropy(model(X), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    assert losses[-1] < losses[0]
    for name in WEIGHTED:
        assert bool((whole_numbers(model.get_submodule(name))[zero[name]] == 0).all())
    assert {f"0.{aware.INPUT}.low", f"0.{aware.INPUT}.high"} <= keys
    assert set(model.state_dict()) == set(network().state_dict())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_ranges_hold_what_the_images_showed_and_follow_in_training_alone():
    model = nn.Sequential(nn.Linear(4, 2)).eval()
    x = torch.linspace(-1, 3, 32).view(8, 4)
    with rounding_aware(model, x.split(4)):
        rounds = model[0].rounded_input
        assert (float(rounds.low), float(rounds.high)) == (-1, 3)
        model(10 * x)
        assert (float(rounds.low), float(rounds.high)) == (-1, 3)
        model.train()(10 * x)
        assert (float(rounds.low), float(rounds.high)) == pytest.approx((-1.09, 3.27))
        assert len(rounds(x).unique()) <= 256


def test_a_shared_weight_is_left_alone_and_a_failure_leaves_a_plain_network():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)).eval()
    model[1].weight = model[0].weight
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(RuntimeError, match="stopped"), rounding_aware(model, [torch.rand(3, 4)]):
        raise RuntimeError("stopped")
    assert model[1].weight is model[0].weight
    assert torch.equal(model[0].weight, before["0.weight"])
    assert set(model.state_dict()) == set(before)
