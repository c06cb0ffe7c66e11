"""The bases of frequency layers: stage 1 at integer frequencies, no published mistake, and gradients of order one."""

from math import cos, pi, sqrt

import numpy as np
import pytest
import torch
from bases import kernels, matrix

import stage1_scipy
from layers import FrequencyConv2d
from layers.frequency import BASES
from layers.frequency.basis import Basis
from layers.frequency.waves import trig_scale

STAGE_1 = [kernel for kernel in BASES if kernel != "complex_shannon"]


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
