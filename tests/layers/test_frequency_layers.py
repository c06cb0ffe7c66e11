"""Frequency layers against the dense layer of their weight: any geometry, any kernel, with and without a cache."""

import copy
import io
from math import sqrt

import pytest
import torch
import torch.nn.functional as F
from bases import REAL, kernels, matrix
from test_transform import largest_of_a_step
from torch import nn

from layers import FrequencyConv2d, FrequencyLinear, fold
from layers.frequency import COMPLEX

real_kernels = pytest.mark.parametrize("kernel", REAL)


@kernels
def test_frequencies_count_in_the_fourth_root_of_the_inputs(kernel):
    layer = FrequencyLinear(16, 4, kernel=kernel)
    assert not layer.fc.any()
    assert torch.equal(layer.frequencies, layer.decoded.channels.start())
    with torch.no_grad():
        layer.fc += 0.25
        assert torch.equal(layer.frequencies, layer.decoded.channels.start() + 0.5)
        assert torch.allclose(layer.weight, layer.decoded.channels(layer.frequencies.float()), atol=1e-6)


@kernels
@pytest.mark.parametrize("bias", [True, False])
def test_parameter_counts(kernel, bias):
    extra = (2 if kernel in COMPLEX else 1) if bias else 0

    def count(layer):
        return sum(p.numel() * (2 if p.is_complex() else 1) for p in layer.parameters())

    assert count(FrequencyLinear(400, 120, bias, kernel=kernel)) == 120 + 120 * extra
    conv = FrequencyConv2d(6, 16, (3, 5), bias=bias, kernel=kernel)
    assert count(conv) == 16 + 3 + 5 + 16 * 15 + 16 * extra
    assert set(conv.state_dict()) == {"fcc", "fch", "fcw", "delta", *(["bias"] if bias else [])}


@kernels
def test_every_filter_has_its_own_spatial_pattern(kernel):
    torch.manual_seed(0)
    w = FrequencyConv2d(4, 12, 3, kernel=kernel, dtype=torch.float64).weight.detach()
    assert torch.linalg.matrix_rank(w.flatten(0, 1).flatten(1)) == 9


@real_kernels
def test_conv_weight_by_the_formula(kernel):
    torch.manual_seed(0)
    layer = FrequencyConv2d(4, 6, (2, 3), groups=2, kernel=kernel, dtype=torch.float64)
    kc = torch.cat([matrix(kernel, 3, 2)] * 2)
    kh, kw = matrix(kernel, 2, 2), matrix(kernel, 3, 3)
    want = torch.zeros(6, 2, 2, 3, dtype=torch.float64)
    for o in range(6):
        for p in range(2):
            for q in range(3):
                pattern = layer.delta[o, 3 * p + q].detach() * torch.outer(kh[p], kw[q])
                want[o] += sqrt(2) * kc[o][:, None, None] * pattern
    assert (layer.weight - want).abs().max() < 1e-12


OPTIONS = {
    "plain": {},
    "no bias": {"bias": False},
    "stride": {"stride": (2, 1)},
    "padding": {"padding": (1, 2)},
    "same": {"padding": "same", "kernel_size": (3, 2), "dilation": (1, 2)},
    "valid": {"padding": "valid"},
    "dilation": {"dilation": (2, 1), "padding": 2},
    "groups": {"groups": 2},
    "depthwise": {"groups": 4, "out_channels": 8},
    "reflect": {"padding": (2, 1), "padding_mode": "reflect"},
    "replicate": {"padding": (2, 1), "padding_mode": "replicate"},
    "circular": {"padding": (1, 2), "padding_mode": "circular"},
    "circular same": {"padding": "same", "padding_mode": "circular", "kernel_size": (3, 5)},
    "reflect same, strange": {"padding": "same", "padding_mode": "reflect", "kernel_size": (4, 3), "dilation": (1, 2)},
    "1 x 1": {"kernel_size": 1},
}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("option", OPTIONS)
@kernels
def test_conv_is_the_dense_convolution_of_its_weight(kernel, option, dtype):
    torch.manual_seed(0)
    options = {"in_channels": 4, "out_channels": 6, "kernel_size": 3} | OPTIONS[option]
    layer, x = FrequencyConv2d(**options, kernel=kernel, dtype=dtype), torch.randn(2, 4, 11, 12, dtype=dtype)
    tolerance = 1e-12 if dtype == torch.float64 else 1e-5
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    if kernel in REAL:
        plain = fold(copy.deepcopy(layer))
        assert type(plain) is nn.Conv2d
        assert {p.dtype for p in plain.parameters()} == {dtype}
        assert torch.equal(plain(x), layer(x))
        assert torch.equal(plain.weight, layer.weight)
        return
    # the complex product against real convolutions: (a + ib)(c + id) = (ac - bd) + i(ad + bc)
    z = torch.complex(x, torch.randn_like(x))
    dense = nn.Conv2d(**options | {"bias": False}, dtype=dtype)

    def conv(part, weight):
        with torch.no_grad():
            dense.weight.copy_(weight)
            return dense(part)

    w = layer.weight.detach()
    real = conv(z.real, w.real) - conv(z.imag, w.imag)
    imaginary = conv(z.real, w.imag) + conv(z.imag, w.real)
    want = torch.complex(real, imaginary)
    if layer.bias is not None:
        want = want + layer.bias[:, None, None]  # once
    assert (layer(z) - want).abs().max() < tolerance * 10
    assert (layer(x) - layer(torch.complex(x, torch.zeros_like(x)))).abs().max() == 0


@kernels
def test_linear_is_the_dense_layer_of_its_weight_also_for_two_features(kernel):
    torch.manual_seed(0)
    for inputs in (2, 9):
        layer = FrequencyLinear(inputs, 5, kernel=kernel, dtype=torch.float64)
        nn.init.normal_(layer.bias)
        x, w = torch.randn(3, 4, inputs, dtype=torch.float64), layer.weight
        if kernel in REAL:
            assert torch.equal(layer(x), F.linear(x, w, layer.bias))
            assert torch.equal(fold(nn.Sequential(copy.deepcopy(layer)))(x), layer(x))
            continue
        y = torch.randn_like(x)
        real = x @ w.real.T - y @ w.imag.T + layer.bias.real
        imaginary = x @ w.imag.T + y @ w.real.T + layer.bias.imag
        assert (layer(torch.complex(x, y)) - torch.complex(real, imaginary)).abs().max() < 1e-12
        assert layer(x).is_complex()


@kernels
def test_the_start_keeps_the_variance(kernel):
    torch.manual_seed(0)
    dtype = torch.complex64 if kernel in COMPLEX else torch.float32
    x = torch.randn(64, 200, dtype=dtype)
    for outputs in (10, 200, 500):
        assert 1 / 1.5 < FrequencyLinear(200, outputs, kernel=kernel)(x).std() < 1.5
    for inputs, outputs in ((16, 64), (64, 16), (3, 64), (1, 32)):
        z = torch.randn(8, inputs, 16, 16, dtype=dtype)
        assert 1 / 1.5 < FrequencyConv2d(inputs, outputs, 3, kernel=kernel)(z).std() < 1.5


@kernels
def test_cache_copy_state_and_dtype(kernel):
    torch.manual_seed(0)
    x = torch.randn(2, 4, 6, 6)
    layer = FrequencyConv2d(4, 6, 3, kernel=kernel)
    with torch.no_grad():
        want = layer.eval()(x)
        assert layer.weight is layer.weight
        assert torch.equal(copy.deepcopy(layer)(x), want)
        buffer = io.BytesIO()
        torch.save(layer.state_dict(), buffer)
        buffer.seek(0)
        other = FrequencyConv2d(4, 6, 3, kernel=kernel).eval()
        other(x)  # fills its cache
        other.load_state_dict(torch.load(buffer))
        assert torch.equal(other(x), want)
        layer.fcc.add_(0.5)
        assert not torch.equal(layer(x), want)
        twice = other.double()(x.double())
        assert twice.real.dtype == torch.float64
        assert (twice - want).abs().max() < 1e-5
    assert layer.weight.requires_grad


@kernels
def test_training_builds_no_tensor_larger_than_twice_the_weight(kernel):
    for inputs, outputs in ((300, 200), (1000, 40)):
        layer = FrequencyLinear(inputs, outputs, kernel=kernel)
        assert largest_of_a_step(layer, torch.randn(8, inputs)) <= 2 * inputs * outputs
    layer = FrequencyConv2d(24, 32, 3, kernel=kernel)
    assert largest_of_a_step(layer, torch.randn(1, 24, 4, 4)) <= 2 * 32 * 24 * 9


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@kernels
def test_cuda_equals_cpu(kernel):
    torch.manual_seed(0)
    layer, x = FrequencyConv2d(4, 6, 3, kernel=kernel), torch.randn(2, 4, 8, 8)
    assert (copy.deepcopy(layer).cuda()(x.cuda()).cpu() - layer(x)).abs().max() < 1e-4
