"""Layers against the dense layer they replace: exact at full rank, for everything that a convolution can be asked."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from layers import METHODS, Coded, Transform, code, fold
from layers.coded import is_coded
from layers.transform import pack, unpack

EXACT = {torch.float64: 1e-10, torch.float32: 1e-4}  # relative to the largest output; float32: hundreds of terms


def full(method, layer):
    """The method's form of the layer that leaves nothing out."""
    return method.build(layer, method.candidates(layer)[-1].spec)


def check_equal(layer, small, x, tolerance):
    want, got = layer(x), small(x)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    assert (got - want).abs().max() <= tolerance * want.abs().max()


ROWS = {
    "plain": {},
    "no bias": {"bias": False},
    "stride 2": {"stride": 2},
    "stride (2, 1)": {"stride": (2, 1)},
    "rectangular": {"kernel_size": (3, 5), "padding": (1, 2)},
    "even kernel": {"kernel_size": (4, 2)},
    "dilation": {"dilation": (2, 1), "padding": 2},
    "same": {"padding": "same", "kernel_size": (4, 3)},
    "valid": {"padding": "valid"},
    "reflect": {"padding": (2, 1), "padding_mode": "reflect"},
    "replicate": {"padding": (2, 1), "padding_mode": "replicate"},
    "circular": {"padding": (1, 2), "padding_mode": "circular"},
    "circular same": {"padding": "same", "padding_mode": "circular"},
    "groups": {"groups": 2},
    "depthwise": {"out_channels": 4, "groups": 4},
    "depthwise multiplier": {"out_channels": 8, "groups": 4},
    "1 x 1": {"kernel_size": 1},
    "1 x 3": {"kernel_size": (1, 3)},
}


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel lengths")  # the dense layer warns
@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("name", METHODS)
def test_full_rank_equals_dense_conv(name, row, dtype):
    torch.manual_seed(0)
    options = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "dtype": dtype} | ROWS[row]
    layer, x = nn.Conv2d(**options), torch.randn(2, 4, 11, 12, dtype=dtype)
    if METHODS[name].refusal(layer):
        assert name == "spatial"
        assert 1 in layer.kernel_size
        return
    small = full(METHODS[name], layer)
    check_equal(layer, small, x, EXACT[dtype])
    check_equal(layer, small, x.contiguous(memory_format=torch.channels_last), EXACT[dtype])


@given(
    kernel=st.tuples(st.integers(2, 5), st.integers(2, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
    name=st.sampled_from(list(METHODS)),
)
def test_full_rank_equals_dense_conv_of_any_geometry(kernel, stride, padding, dilation, mode, groups, bias, name):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups, bias, mode, dtype=torch.float64)
    check_equal(layer, full(METHODS[name], layer), torch.randn(2, 4, 12, 13, dtype=torch.float64), 1e-10)


@pytest.mark.parametrize("name", ["svd", "dct"])
@pytest.mark.parametrize("bias", [True, False])
def test_full_rank_equals_dense_linear(name, bias):
    torch.manual_seed(0)
    layer = nn.Linear(7, 5, bias, dtype=torch.float64)
    check_equal(layer, full(METHODS[name], layer), torch.randn(3, 7, dtype=torch.float64), 1e-10)


@pytest.mark.parametrize("name", METHODS)
def test_the_error_is_the_predicted_one(name):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, groups=2, bias=False, dtype=torch.float64)
    # an impulse at each input channel and pixel reads the whole weight out of any form of the layer
    x = torch.eye(4 * 25, dtype=torch.float64).reshape(100, 4, 5, 5)
    dense = layer(x)
    for spec, energy in METHODS[name].candidates(layer):
        small = METHODS[name].build(layer, spec)(x)
        # every weight is read 9 times, once for each place of the 3 x 3 output
        lost = (dense - small).square().sum() / 9 / layer.weight.square().sum()
        assert float(lost.detach()) == pytest.approx(1 - energy, abs=1e-12)


def test_factors_take_over_dtype_mode_and_requires_grad():
    layer = nn.Conv2d(4, 6, 3, dtype=torch.float64).requires_grad_(False).eval()
    small = METHODS["svd"].build(layer, {"rank": 2})
    assert not small.training
    assert {p.dtype for p in small.parameters()} == {torch.float64}
    assert not any(p.requires_grad for p in small.parameters())


CODES = [lambda: Coded("svd", rank=3), lambda: Coded("dct"), lambda: Transform("dct", keep=40, axes=(2, 3))]


@pytest.mark.parametrize("make", CODES)
def test_coded_layers_train_and_fold(make):
    torch.manual_seed(0)
    layer = code(nn.Conv2d(4, 6, 3, dtype=torch.float64), make())
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    before = layer(x)
    optimizer = torch.optim.SGD(layer.parameters(), 1e-4)
    before.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())
    optimizer.step()
    after = layer(x)
    assert after.square().sum() < before.square().sum()
    folded = fold(copy.deepcopy(nn.Sequential(layer)))[0]
    assert not is_coded(folded)
    assert type(folded) is nn.Conv2d
    assert torch.equal(folded(x), after)


@pytest.mark.parametrize("make", CODES)
def test_the_cached_weight_is_never_stale(make):
    torch.manual_seed(0)
    layer = code(nn.Linear(6, 5), make()) if make is not CODES[2] else code(nn.Conv2d(4, 6, 3), make())
    layer.eval()
    with torch.no_grad():
        first = layer.weight
        assert layer.weight is first  # the cache is used
        next(iter(layer.parametrizations.parameters())).mul_(2)
        assert not torch.equal(layer.weight, first)
        other = copy.deepcopy(layer)
        for p in other.parametrizations.parameters():
            p.zero_()
        layer.load_state_dict(other.state_dict())
        assert layer.weight.abs().max() == 0
        assert layer.double().weight.dtype == torch.float64
    assert layer.weight.requires_grad  # with gradients on, the weight is decoded anew


def test_transform_keeps_the_largest_coefficients_and_stores_only_them():
    layer = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 2, 2, 2], [1, -1, -1, 1]]))
    # orthonormal DCT along the inputs: row 0 -> (4, 0, 0, 0); row 1 -> (0, 0, 2, 0)
    code(layer, Transform("dct", keep=2, axes=(1,)))
    values = layer.parametrizations.weight.original0
    assert torch.allclose(values, torch.tensor([4.0, 2.0]), atol=1e-6)
    assert layer.parametrizations.weight[0].index.tolist() == [0, 6]
    state = layer.state_dict()
    assert sum(t.numel() * t.element_size() for t in state.values()) == 2 * 4 + 1  # two floats, eight bits


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_packed_bits_come_back(bits):
    mask = torch.tensor(bits)
    assert pack(mask).numel() == -(-len(bits) // 8)
    assert unpack(pack(mask), len(bits)).tolist() == bits


@pytest.mark.parametrize("make", [lambda: Coded("fft"), lambda: Transform("svd", keep=1, axes=(0,))])
def test_unknown_kernels_are_refused(make):
    with pytest.raises(ValueError, match=r"kernel must be one of .*dct"):
        make()


def test_keep_must_be_possible():
    with pytest.raises(ValueError, match="keep must be 1 to 20, got 21"):
        code(nn.Linear(5, 4), Transform("dct", keep=21, axes=(0, 1)))
