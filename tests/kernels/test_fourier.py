"""The Fourier room beyond the contract: values by hand, scipy.fft as oracle, long axes, half precision, graphs."""

from math import sqrt

import numpy as np
import pytest
import scipy.fft
import torch
from compiled import check_compiles

import stage1_scipy
import stage2_numpy
import stage3_torch
from stage3_torch.fourier import DENSE, DENSE_HARTLEY

STAGES = {"scipy": stage1_scipy, "numpy": stage2_numpy, "torch": stage3_torch}
stages = pytest.mark.parametrize("stage", STAGES)
REAL = [(name, {"type": type}) for name in ("dct", "dst") for type in (1, 2, 3, 4)] + [("dht", {})]
real = pytest.mark.parametrize(("name", "spec"), REAL, ids=[f"{name}{spec.get('type', '')}" for name, spec in REAL])


LONG = max(*DENSE.values(), DENSE_HARTLEY) + 1  # every fast transform is at work


def call(stage, name, x, **spec):
    x = torch.from_numpy(np.ascontiguousarray(x)) if stage == "torch" else x
    return np.asarray(getattr(STAGES[stage], name)(x, **spec))


H = sqrt(0.5)  # cos 45 degrees
C, S = sqrt(2 + sqrt(2)) / 2, sqrt(2 - sqrt(2)) / 2  # cos and sin of 22.5 degrees

BY_HAND = {
    # x = (1, 2, 4), P = 2: e = (H, 1, H), sqrt(2/P) = 1, cos(pi k i / 2) = (1, 0, -1)
    # X0 = H (H 1 + 2 + H 4) = 2.5 + 2H, X1 = H 1 - H 4 = -3H, X2 = H (H 1 - 2 + H 4) = 2.5 - 2H
    ("dct", 1): ([1, 2, 4], [2.5 + 2 * H, -3 * H, 2.5 - 2 * H]),
    # X0 = (1 + 3) / sqrt 2, X1 = cos(45) 1 + cos(135) 3 = H (1 - 3)
    ("dct", 2): ([1, 3], [4 * H, -2 * H]),
    # the transpose: x0 = H 1 + cos(45) 3, x1 = H 1 + cos(135) 3
    ("dct", 3): ([1, 3], [4 * H, -2 * H]),
    # angles (2k+1)(2i+1) 22.5 degrees: X0 = C 1 + S 3, X1 = S 1 - C 3
    ("dct", 4): ([1, 3], [C + 3 * S, S - 3 * C]),
    # P = 3, sqrt(2/3): sin 60 = sin 120 = sqrt(3)/2, sin 240 = -sqrt(3)/2; so sqrt(1/2) (1 + 3), sqrt(1/2) (1 - 3)
    ("dst", 1): ([1, 3], [4 * H, -2 * H]),
    # X0 = sin(45) 1 + sin(135) 3 = 4H, X1 = H (sin(90) 1 + sin(270) 3) = -2H
    ("dst", 2): ([1, 3], [4 * H, -2 * H]),
    # the transpose: x0 = sin(45) 1 + H sin(90) 3 = 4H, x1 = sin(135) 1 + H sin(270) 3 = -2H
    ("dst", 3): ([1, 3], [4 * H, -2 * H]),
    # X0 = S 1 + C 3, X1 = C 1 + sin(202.5) 3 = C 1 - S 3
    ("dst", 4): ([1, 3], [S + 3 * C, C - 3 * S]),
    # cas = cos + sin of k t 90 degrees, over sqrt 4: rows (1 1 1 1), (1 1 -1 -1), (1 -1 1 -1), (1 -1 -1 1)
    ("dht", None): ([1, 2, 4, 8], [7.5, -4.5, -2.5, 1.5]),
    # powers of -i over sqrt 4: rows (1 1 1 1), (1 -i -1 i), (1 -1 1 -1), (1 i -1 -i)
    ("dft", None): ([1, 2, 4, 8], [7.5, -1.5 + 3j, -2.5, -1.5 - 3j]),
}


@stages
@pytest.mark.parametrize(("name", "type"), BY_HAND)
def test_by_hand(stage, name, type):
    x, want = BY_HAND[name, type]
    got = call(stage, name, np.array(x, float), **({"type": type} if type else {}))
    assert got == pytest.approx(np.array(want), abs=1e-14)  # a few roundings of numbers below 10


@stages
@real
@pytest.mark.parametrize("n", [1, 2, 3, 16, 17, 192, 193, 385, 512, 769, 770])
def test_any_length_any_axis(stage, name, spec, n):
    if (name, spec, n) == ("dct", {"type": 1}, 1):
        pytest.skip("the DCT-I of one sample does not exist")
    x = np.random.default_rng(n).standard_normal((2, n, 3))
    if name == "dht":
        z = scipy.fft.fft(x, axis=1, norm="ortho")
        want = z.real - z.imag
    else:
        want = getattr(scipy.fft, name)(x, axis=1, norm="ortho", **spec)
    y = call(stage, name, x, axis=1, **spec)
    assert np.abs(y - want).max() < 1e-12  # 770 roundings of numbers of order one
    assert np.abs(call(stage, "i" + name, y, axis=1, **spec) - x).max() < 1e-12


@stages
@pytest.mark.parametrize("n", [1, 2, 7, 1500])
def test_dft_takes_complex_numbers(stage, n):
    parts = np.random.default_rng(n).standard_normal((2, 3, n))
    z = parts[0] + 1j * parts[1]
    y = call(stage, "dft", z)
    assert np.abs(y - scipy.fft.fft(z, norm="ortho")).max() < 1e-11
    assert np.abs(call(stage, "idft", y) - z).max() < 1e-11
    assert call(stage, "dft", z.astype(np.complex64)).dtype == np.complex64


@real
@pytest.mark.parametrize("n", [LONG, LONG + 1])
def test_long_lines_by_fft(name, spec, n):
    x = np.random.default_rng(n).standard_normal((2, n))
    want = call("scipy", name, x, **spec)
    assert np.abs(call("torch", name, x, **spec) - want).max() < 1e-12
    assert np.abs(call("torch", "i" + name, want, **spec) - x).max() < 1e-12


def test_basis_is_orthonormal_and_exact_at_large_n():
    for wave in ("cos", "sin"):
        for type in (1, 2, 3, 4):
            t = stage2_numpy.fourier.trig_basis(600, wave, type)
            assert np.abs(t @ t.T - np.eye(600)).max() < 1e-13  # the phases are reduced as integers


@real
@pytest.mark.parametrize("n", [9, LONG, LONG + 1])
def test_adjoint_is_inverse(name, spec, n):
    """<T x, y> = <x, T^-1 y>, and autograd's gradient is the same thing."""
    x, y = torch.randn(2, 2, n, dtype=torch.float64, generator=torch.Generator().manual_seed(n))
    x.requires_grad_()
    encode, decode = getattr(stage3_torch, name), getattr(stage3_torch, "i" + name)
    (gradient,) = torch.autograd.grad((encode(x, **spec) * y).sum(), x)
    assert torch.allclose(gradient, decode(y, **spec), atol=1e-12)  # float64, as above


@real
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("n", [30, LONG])
def test_half_precision_goes_by_float32(name, spec, dtype, n):
    x = torch.randn(3, n, generator=torch.Generator().manual_seed(0)).to(dtype)
    y = getattr(stage3_torch, name)(x, **spec)
    assert y.dtype == dtype
    assert torch.equal(y, getattr(stage3_torch, name)(x.float(), **spec).to(dtype))


def test_dft_of_half_precision_is_complex64():
    x = torch.randn(3, 8).bfloat16()
    assert torch.equal(stage3_torch.dft(x), stage3_torch.dft(x.float()))
    assert stage3_torch.dft(x).dtype == torch.complex64


def test_autocast_does_not_round():
    x = torch.randn(4, 32, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        back = stage3_torch.idct(stage3_torch.dct(x))
    assert back.dtype == torch.float32
    assert (back - x).abs().max() < 1e-5  # float32; bfloat16 would be off by 1e-2


def test_shapes_on_the_meta_device():
    x = torch.empty(3, 20, device="meta")
    assert stage3_torch.idct(stage3_torch.dct(x, axis=0), axis=0).shape == x.shape


def test_a_table_from_inference_mode_serves_training():
    with torch.inference_mode():
        stage3_torch.dct(torch.randn(3, 41))
    x = torch.randn(3, 41, requires_grad=True)
    stage3_torch.dct(x).sum().backward()
    assert x.grad is not None


@pytest.mark.filterwarnings("ignore:Torchinductor does not support code generation for complex")  # only slower
@pytest.mark.parametrize("n", [12, LONG])  # long signals take another path
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])  # compiles C++
def test_compiles_without_graph_breaks(n, backend):
    def all_of_them(x):
        y = stage3_torch.dct(x, 2, 0) + stage3_torch.dst(x, 3, 0) + stage3_torch.dht(x, 0) + stage3_torch.idct(x, 4, 0)
        return y + stage3_torch.idft(stage3_torch.dft(x, 0), 0).real

    check_compiles(all_of_them, n, backend)


def test_exports_before_the_table_exists():
    """Export runs under fake tensors; a fake table kept in the cache would poison every later call."""

    class Layer(torch.nn.Module):
        def forward(self, x):
            return stage3_torch.dct(x)

    x = torch.randn(2, 43)
    exported = torch.export.export(Layer(), (x,)).module()
    assert torch.allclose(exported(x), stage3_torch.dct(x), atol=1e-6)


@stages
@pytest.mark.parametrize("name", ["dct", "dst"])
def test_unknown_type_is_refused_on_the_way_back_too(stage, name):
    with pytest.raises(ValueError, match="type must be 1, 2, 3 or 4, got 5"):
        call(stage, "i" + name, np.ones(4), type=5)
