"""One counter for networks of every kind, held against torch's own counter and against the file."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from layers import Budget, OnnxNetwork, calibrate, compress, cost, export, export_int8, fold, make_plan, on_grid, save
from layers.costs import Scale, file_macs, latency, peak_memory, scale, score
from layers.network import write_network
from layers.planning import Plan
from layers.thinning import Half, binarise, mask, masks

X = torch.linspace(-1, 1, 2 * 3 * 12 * 12).reshape(2, 3, 12, 12)


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    ).eval()


def factored():
    model = network()
    return compress(model, make_plan(model, Budget(macs=0.6), ("svd", "spatial"), example=X))


NETWORKS = {  # name -> (network, bits of a parameter at most, shares that are not zero)
    "dense": (network, 32, 1.0),
    "factored": (factored, 32, 1.0),
    "pruned": (lambda: fold(mask(network(), masks(network(), 0.9))), 32 * 0.1 + 2.2, 0.12),
    "binary": (lambda: fold(binarise(network())), 2.2, 1.0),
    "5 bits": (lambda: on_grid(network(), 5), 6.3, 1.0),
    "5 bits, calibrated": (lambda: on_grid(network(), 5, calibrate(network(), [X])), 6.3, 1.0),
}


@pytest.mark.parametrize("which", NETWORKS)
def test_counts_are_those_of_torch_and_of_the_file(which, tmp_path):
    make, bits, share = NETWORKS[which]
    model = make()
    counts = scale(model, X)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(X)
    assert counts.macs == counter.get_total_flops() // 2 // len(X)
    assert counts.params == sum(p.numel() for p in model.parameters())
    assert counts.nonzeros == sum(int((p != 0).sum()) for p in model.parameters()) <= share * counts.params
    assert counts.bits <= bits
    for compressed, size in ((False, counts.bytes), (True, counts.compressed)):
        write_network(model, tmp_path / "file", compressed)
        assert size == (tmp_path / "file").stat().st_size
    held = counts.bits * counts.params / 8
    assert held < counts.bytes < held + 2500  # buffers of BatchNorm and the header
    assert peak_memory(model, X) > 0
    assert latency(model, X, rounds=2).median > 0


def test_bytes_are_those_that_save_writes(tmp_path):
    model = network()
    plan = make_plan(model, Budget(macs=0.6), ("svd", "spatial"), example=X)
    small = compress(model, plan)
    for compressed in (False, True):
        save(small, plan, tmp_path / "small", compressed=compressed)
        size = (tmp_path / "small" / "model.safetensors").stat().st_size
        assert size == scale(small, X)[4 + compressed]
    assert Plan.load(tmp_path / "small" / "plan.json").after.macs == scale(small, X).macs


def test_sixteen_bits_are_of_the_network_that_is_kept():
    model = network()
    counts = scale(Half(network()), X, model.half())
    assert counts.bits == 16
    assert counts.macs == scale(network(), X).macs
    assert counts.bytes < 0.6 * scale(network(), X).bytes


def test_a_network_of_8_bits_is_counted_in_its_file(tmp_path):
    file = tmp_path / "network.onnx"
    export_int8(network(), [X], file)
    counts = scale(OnnxNetwork(file.read_bytes()), X)
    dense = scale(network(), X)
    assert (counts.params, counts.macs) == (dense.params, dense.macs)
    assert 8 < counts.bits < 13
    assert counts.bytes == file.stat().st_size > counts.compressed


RESNET = Scale(11_173_962, 11_173_962, 555_422_720, 32.0, 0, 0)


def test_an_onnx_file_has_the_multiply_accumulates_of_its_network(tmp_path):
    """Of grouped and transposed convolutions, of matrix products, and of factors."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(4, 8, 3, stride=2, groups=2),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 6, 2, stride=2),
        nn.Flatten(1),
        nn.Linear(6 * 6 * 6, 5),
    ).eval()
    x = torch.randn(2, 4, 8, 8)
    export(net, x, tmp_path / "net.onnx")
    by_hand = 3 * 3 * 8 * 2 * 9 + 3 * 3 * 8 * 6 * 4 + 216 * 5
    assert file_macs(tmp_path / "net.onnx") == by_hand == cost(net, x[:1]).macs
    small = compress(net, make_plan(net, Budget(macs=0.6), ("svd",), example=x[:1]))
    export(small, x, tmp_path / "small.onnx")
    assert file_macs((tmp_path / "small.onnx").read_bytes()) == cost(small, x[:1]).macs


def test_scores_by_hand():
    assert score(RESNET, RESNET, 32, 32).score == pytest.approx(11_173_962 / 5.6e6 + 555_422_720 / 2.8e8)
    assert [round(score(RESNET, RESNET, *bits).score, 2) for bits in ((32, 32), (16, 16), (1, 16))] == [
        3.98,
        1.99,
        1.05,
    ]
    zeros = RESNET._replace(nonzeros=RESNET.nonzeros // 2)  # shares of zeros were never counted twice
    assert score(zeros, RESNET, 32, 32) == pytest.approx((11_173_962 / 11.2e6 + 555_422_720 / 2.8e8,) * 2)
    thin = RESNET._replace(params=RESNET.params * 4 // 5, nonzeros=RESNET.params * 4 // 5, macs=RESNET.macs * 4 // 5)
    right, doubled = score(thin, RESNET, 16, 16)
    assert right == pytest.approx(0.8 * 1.9895, rel=1e-3)  # 1.59, as the scripts had for shares of the whole network
    assert doubled == pytest.approx(0.64 * 1.9895, rel=1e-3)
