"""Frequency layers: stage 1 at integer frequencies, no published mistake, any geometry, and they train."""

import copy
import io
from math import cos, pi, sqrt

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from test_transform import largest_of_a_step
from torch import nn

import stage1_scipy
from layers import (
    Cardioid,
    ComplexAvgPool2d,
    ComplexBatchNorm2d,
    ComplexMaxPool2d,
    ConcatenatedReLU,
    FrequencyConv2d,
    FrequencyLinear,
    Magnitude,
    cost,
    fold,
    frequency_layers,
    load_frequency_layers,
    save_frequency_layers,
)
from layers.basis import BASES, COMPLEX, Basis
from layers.waves import trig_scale

kernels = pytest.mark.parametrize("kernel", BASES)
REAL = [kernel for kernel in BASES if kernel not in COMPLEX]
real_kernels = pytest.mark.parametrize("kernel", REAL)
STAGE_1 = [kernel for kernel in BASES if kernel != "complex_shannon"]


def matrix(kernel, rows, n):
    basis = Basis(kernel, rows, n)
    return basis(basis.start())


@pytest.mark.parametrize("kernel", STAGE_1)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 16, 45, 64])
def test_integer_frequencies_are_stage_1(kernel, n):
    want = np.asarray(getattr(stage1_scipy, kernel)(np.eye(n), axis=0))
    assert np.abs(matrix(kernel, n, n).numpy() - want).max() < 1e-12


@pytest.mark.parametrize("n", [1, 2, 3, 8, 13])
def test_complex_shannon_holds_each_pair_of_stage_1_as_one_number_and_its_conjugate(n):
    want, got = torch.from_numpy(stage1_scipy.shannon(np.eye(n), axis=0)), matrix("complex_shannon", n, n)
    assert (got @ got.mH - torch.eye(n)).abs().max() < 1e-12
    first = 1
    for m in [m for m in (1, 2, 4) if 2 * m < n]:
        m = min(m, (n + 1) // 2 - m)
        pair = want[first : first + m], want[first + m : first + 2 * m]
        assert (got[first : first + m] - torch.complex(*pair) / sqrt(2)).abs().max() < 1e-12
        assert (got[first + m : first + 2 * m] - got[first : first + m].conj()).abs().max() < 1e-12
        first += 2 * m


def test_by_hand_between_the_integers():
    f = torch.tensor([0.5], dtype=torch.float64)
    # dct of 2 samples, D = sin(pi) / ... = 0: cos(pi/8), cos(3 pi/8)
    assert Basis("dct", 1, 2)(f)[0].tolist() == pytest.approx([cos(pi / 8), cos(3 * pi / 8)], abs=1e-15)
    # dst: g = 1.5, sin(3 pi/8), sin(9 pi/8)
    assert Basis("dst", 1, 2)(f)[0].tolist() == pytest.approx([cos(pi / 8), -cos(3 * pi / 8)], abs=1e-15)
    # dft: 1, exp(-i pi/2), over sqrt 2; dht: cos + sin
    assert torch.allclose(Basis("dft", 1, 2)(f)[0], torch.tensor([1, -1j], dtype=torch.complex128) / sqrt(2))
    assert Basis("dht", 1, 2)(f)[0].tolist() == pytest.approx([sqrt(0.5), sqrt(0.5)], abs=1e-15)
    assert trig_scale(torch.tensor([0.0, 1, 1.5, 4], dtype=torch.float64), 4).tolist() == pytest.approx(
        [0.5, sqrt(0.5), sqrt(0.5), 0.5], abs=1e-15
    )


@kernels
@pytest.mark.parametrize(("rows", "n"), [(10, 64), (84, 120), (64, 32), (120, 84), (64, 3), (16, 1), (7, 7)])
def test_rows_are_orthonormal_while_there_are_dimensions_and_then_of_full_rank(kernel, rows, n):
    w = matrix(kernel, rows, n)
    if rows <= n:
        assert (w @ w.mH - torch.eye(rows)).abs().max() < 1e-12
    assert torch.linalg.matrix_rank(w) == min(rows, n)
    norms = w.norm(dim=1)
    assert norms.min() > 0.5
    assert norms.max() < 1.5


@kernels
@pytest.mark.parametrize(("rows", "n"), [(10, 84), (84, 120), (119, 120), (1, 2)])
def test_the_row_of_the_mean_is_left_out_where_it_can_be(kernel, rows, n):
    """Behind a relu its output is the same for every image, and sqrt(n) times that of the other rows."""
    mean = matrix(kernel, rows, n).mean(1).abs()
    first = 1 / sqrt(n) if kernel != "dst" else matrix(kernel, n, n).mean(1).max()
    assert mean.max() < 0.5 * first
    assert matrix(kernel, n, n).mean(1).abs().max() >= first * (1 - 1e-9)


@kernels
def test_frequencies_count_in_the_fourth_root_of_the_inputs(kernel):
    layer = FrequencyLinear(16, 4, kernel=kernel)
    assert not layer.fc.any()
    assert torch.equal(layer.frequencies, layer.decoded.channels.start())
    with torch.no_grad():
        layer.fc += 0.25
        assert torch.equal(layer.frequencies, layer.decoded.channels.start() + 0.5)
        assert torch.allclose(layer.weight, layer.decoded.channels(layer.frequencies.float()), atol=1e-6)


@pytest.mark.parametrize("kernel", ["shannon", "complex_shannon"])
def test_shannon_does_not_alias(kernel):
    for n in range(2, 65):
        assert torch.linalg.matrix_rank(matrix(kernel, n, n)) == n


def test_float32_keeps_large_angles():
    rows, n = 100, 5000
    want = matrix("dct", rows, n)
    basis = Basis("dct", rows, n)
    assert (basis(basis.start().float()) - want).abs().max() < 2e-7 * sqrt(2 / n) * 4  # a few roundings


@kernels
def test_gradients(kernel):
    basis = Basis(kernel, 5, 5)
    f = (basis.start() + torch.tensor([0.1, -0.2, 0.3, 0.4, -0.45], dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(basis, (f,))
    assert torch.autograd.gradcheck(basis, (basis.start().requires_grad_(),))  # where trig_scale takes its limit
    layer = FrequencyConv2d(2, 3, (2, 3), kernel=kernel, dtype=torch.float64)
    arrays = [p.detach() + 0.1 for p in (layer.fcc, layer.fch, layer.fcw, layer.delta)]
    assert torch.autograd.gradcheck(layer.decoded.decode, [a.requires_grad_() for a in arrays])


@kernels
def test_a_step_of_one_bin_is_of_order_one(kernel):
    """Why no hook is needed: |dW_k / df_k| of a row is O(1), whatever the number of inputs."""
    for n in (16, 256):
        basis = Basis(kernel, n, n)
        f = basis.start().requires_grad_()
        _, slope = torch.autograd.functional.jvp(basis, f, torch.ones_like(f))
        slopes = slope.norm(dim=1)
        assert slopes.max() < 8  # 2 pi and what the ends add
        assert slopes.median() > 0.1


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
    ("kernel", "optimizer"),
    [
        *((kernel, "adamw 1e-2") for kernel in BASES),
        *(("dct", name) for name in ("adamw 2e-3", "sgd 1e-2", "sgd 3e-2")),
    ],
)
def test_digits_are_learned_at_the_rates_of_dense_layers_without_a_gradient_hook(kernel, optimizer):
    """Five epochs reach 60 %, chance being 10 %; counted in bins, the dct had 10 % after seven at the lowest rate."""
    torch.manual_seed(0)
    (x, y), net = digits(), digits_net(kernel)
    start = copy.deepcopy(net.state_dict())
    optimizer = OPTIMIZERS[optimizer](net.parameters())
    for step in range(5 * 45):
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


def test_cardioid_is_the_relu_on_the_real_axis():
    z = torch.tensor([3, -2, 4j, 0], requires_grad=True)
    y = Cardioid()(z)
    assert torch.allclose(y, torch.tensor([3, 0, 2j, 0]), atol=1e-6)
    Magnitude()(y).sum().backward()
    assert torch.isfinite(torch.view_as_real(z.grad)).all()


def test_concatenated_relu_and_pools_by_hand():
    z = torch.tensor([[1 + 2j, -3 - 4j], [0.5j, 2 - 1j]])[None, None]
    assert ConcatenatedReLU()(z).flatten().tolist() == [1, 4j, 0, 2 + 1j]
    assert ComplexMaxPool2d(2)(z).flatten().tolist() == [-3 - 4j]
    assert ComplexAvgPool2d(2)(z).flatten().tolist() == [0 - 0.625j]


def test_batch_norm_whitens_parts_that_were_correlated():
    torch.manual_seed(0)
    a, b = torch.randn(2, 32, 3, 6, 6, dtype=torch.float64)
    z = torch.complex(2 * a + 1, a + 0.5 * b - 3)
    norm = ComplexBatchNorm2d(3, eps=1e-12, momentum=1.0).double()
    y = norm(z)
    parts = torch.stack([y.real, y.imag]).transpose(1, 2).flatten(2)  # (2, channels, samples)
    assert parts.mean(2).abs().max() < 1e-10
    covariance = torch.einsum("ics,jcs->cij", parts, parts) / parts.shape[2]
    assert (covariance - torch.eye(2) / 2).abs().max() < 1e-6  # eps over the variance; gamma begins at 1 / sqrt 2
    count = parts.shape[2]
    again = norm.eval()(z)  # the running covariance is the unbiased one
    assert (again * sqrt(count / (count - 1)) - y).abs().max() < 1e-6
    assert set(norm.state_dict()) == {"gamma", "beta", "mean", "covariance"}


def test_batch_norm_gradients():
    torch.manual_seed(0)
    norm = ComplexBatchNorm2d(2).double()
    z = torch.randn(3, 2, 2, 2, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(norm, (z,))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@kernels
def test_cuda_equals_cpu(kernel):
    torch.manual_seed(0)
    layer, x = FrequencyConv2d(4, 6, 3, kernel=kernel), torch.randn(2, 4, 8, 8)
    assert (copy.deepcopy(layer).cuda()(x.cuda()).cpu() - layer(x)).abs().max() < 1e-4
