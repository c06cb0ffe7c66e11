"""Networks of frequency layers: swapped in, trained without a hook, and rebuilt from their file alone."""

import copy

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from layers import (
    Cardioid,
    ComplexAvgPool2d,
    ComplexMaxPool2d,
    FrequencyConv2d,
    FrequencyLinear,
    Magnitude,
    cost,
    fold,
    frequency_layers,
    load_frequency_layers,
    save_frequency_layers,
)
from layers.frequency import BASES, COMPLEX


def test_what_complex_layers_cannot_do_is_refused():
    with pytest.raises(ValueError, match="kernel must be real, for a plain layer is, got 'dft'"):
        FrequencyLinear(4, 4, kernel="dft").materialize()
    with pytest.raises(ValueError, match="kernel must be one of dct, dst"):
        FrequencyLinear(4, 4, kernel="dwt")
    with pytest.raises(ValueError, match="layers must be one of all, linear, conv, got 'dense'"):
        frequency_layers(nn.Linear(2, 2), "dct", "dense")
    with pytest.raises(ValueError, match="layers must be of a kind that the model has"):
        frequency_layers(nn.Linear(2, 2), "dct", "conv")


@pytest.mark.parametrize("kernel", ["dct", "dst", "dft", "shannon", "complex_shannon"])
@pytest.mark.parametrize("layers", ["all", "linear", "conv"])
def test_swap(kernel, layers):
    model = nn.Sequential(
        nn.Conv2d(2, 6, (3, 5), 2, (1, 2), 1, 2, False, "reflect"), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 5)
    ).eval()
    x = torch.randn(2, 2, 8, 8)
    dense = cost(model, x)
    swapped = frequency_layers(copy.deepcopy(model), kernel, layers)
    assert isinstance(swapped[0], FrequencyConv2d) == (layers != "linear")
    assert isinstance(swapped[3], FrequencyLinear) == (layers != "conv")
    assert not swapped[0].training
    y = swapped(x)
    assert y.shape == (2, 5)
    assert not y.is_complex()
    assert torch.equal(fold(copy.deepcopy(swapped))(x), y)
    small = cost(swapped, x)
    assert small.macs == dense.macs
    assert isinstance(frequency_layers(nn.Linear(3, 2, dtype=torch.float64), kernel).fc.double(), torch.Tensor)


def digits():
    data = load_digits()
    x = torch.tensor(data.data, dtype=torch.float32).reshape(-1, 1, 8, 8)
    return (x - x.mean()) / x.std(), torch.tensor(data.target)


def digits_net(kernel):
    """Two convolutions and the classifier: 762 numbers, of which 576 are the filters' own patterns."""
    pool, act, rest = nn.MaxPool2d(2), nn.ReLU(), [nn.AvgPool2d(4), nn.Flatten()]
    if kernel in COMPLEX:
        pool, act, rest = ComplexMaxPool2d(2), Cardioid(), [ComplexAvgPool2d(4), nn.Flatten()]
    return nn.Sequential(
        FrequencyConv2d(1, 32, 3, padding=1, kernel=kernel),
        act,
        pool,
        FrequencyConv2d(32, 32, 3, padding=1, kernel=kernel),
        act,
        *rest,
        FrequencyLinear(32, 10, kernel=kernel),
        Magnitude() if kernel in COMPLEX else nn.Identity(),
    )


OPTIMIZERS = {
    "adamw 1e-2": lambda parameters: torch.optim.AdamW(parameters, 1e-2),
    "adamw 2e-3": lambda parameters: torch.optim.AdamW(parameters, 2e-3),
    "sgd 1e-2": lambda parameters: torch.optim.SGD(parameters, 1e-2, momentum=0.9),
    "sgd 3e-2": lambda parameters: torch.optim.SGD(parameters, 3e-2, momentum=0.9),
}


@pytest.mark.parametrize(
    ("kernel", "optimizer", "epochs"),
    [
        *((kernel, "adamw 1e-2", 2) for kernel in BASES),
        *(("dct", name, 5) for name in ("adamw 2e-3", "sgd 1e-2", "sgd 3e-2")),
    ],
)
def test_digits_are_learned_at_the_rates_of_dense_layers_without_a_gradient_hook(kernel, optimizer, epochs):
    """A few epochs reach 60 %, chance being 10 %; counted in bins, the dct had 10 % after seven at the lowest rate."""
    torch.manual_seed(0)
    (x, y), net = digits(), digits_net(kernel)
    start = copy.deepcopy(net.state_dict())
    optimizer = OPTIMIZERS[optimizer](net.parameters())
    for step in range(epochs * 45):
        batch = torch.arange(step * 32, step * 32 + 32) % 1440
        optimizer.zero_grad()
        F.cross_entropy(net(x[batch]), y[batch]).backward()
        optimizer.step()
    with torch.no_grad():
        right = float((net.eval()(x[1440:]).argmax(1) == y[1440:]).float().mean())
    assert right > 0.6
    # the frequencies move too, by a sizeable part of a bin
    assert all((net.state_dict()[name] - start[name]).abs().max() > 0.05 for name in ("3.fcc", "3.fch", "7.fc"))


def test_weight_decay_leaves_a_frequency_without_a_gradient_where_it_started():
    layer = FrequencyLinear(64, 8, kernel="dct")
    optimizer = torch.optim.AdamW(layer.parameters(), 1e-2, weight_decay=0.5)
    before = layer.frequencies.detach()
    for _ in range(10):
        optimizer.zero_grad()
        (layer(torch.zeros(1, 64))).sum().backward()
        optimizer.step()
    assert torch.equal(layer.frequencies, before)


def small_net():
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))


@pytest.mark.parametrize("layers", ["all", "linear", "conv"])
def test_a_saved_network_is_rebuilt_from_its_file_alone(layers, tmp_path):
    torch.manual_seed(0)
    net, x = frequency_layers(small_net(), "shannon", layers).eval(), torch.randn(2, 1, 4, 4)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1
    save_frequency_layers(net, "shannon", layers, tmp_path / "net.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["net.safetensors"]
    dense = small_net().eval()
    again = load_frequency_layers(tmp_path / "net.safetensors", dense)
    assert torch.equal(again(x), net(x))
    assert type(dense[0]) is nn.Conv2d  # untouched


def test_a_wrong_file_is_refused_in_a_sentence(tmp_path):
    path = tmp_path / "net.safetensors"
    with pytest.raises(ValueError, match="path must be a file, as save_frequency_layers writes it, got"):
        load_frequency_layers(path, small_net())
    path.write_bytes(b"\x80\x04 not safetensors")
    with pytest.raises(ValueError, match="must be a whole safetensors file"):
        load_frequency_layers(path, small_net())
    safetensors.torch.save_model(small_net(), str(path))
    with pytest.raises(ValueError, match="must be a file that names the kernel and the layers"):
        load_frequency_layers(path, small_net())
    save_frequency_layers(frequency_layers(small_net(), "dct", "conv"), "dct", "linear", path)
    with pytest.raises(ValueError, match=r"must hold the tensors of Sequential, got: 0\.weight is missing"):
        load_frequency_layers(path, small_net())
    save_frequency_layers(small_net(), "dtc", "all", path)
    with pytest.raises(ValueError, match=r"kernel must be one of dct, .*, got 'dtc'"):
        load_frequency_layers(path, small_net())
