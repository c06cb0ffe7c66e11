"""Tucker: values worked by hand, what HOOI promises, and tensorly."""

import itertools

import numpy as np
import pytest
import torch
from test_contract import pair, stages, to_stage

import stage3_torch
from contract import KERNELS
from stage3_torch.tensor import syrk

EPS = 1e-12  # float64 rounding through a few SVDs of matrices with entries near 1


def both(stage, x, **spec):
    """(code, reconstruction) as NumPy arrays."""
    encode, decode = pair(stage, "tucker")
    code = encode(to_stage(stage, x), **spec)
    return (
        np.asarray(code.core),
        [np.asarray(u) for u in code.factors],
        np.asarray(decode(code, **KERNELS["tucker"].decoding(spec))),
    )


def error(x, x_hat):
    return np.linalg.norm(x - x_hat) / np.linalg.norm(x)


@stages
def test_by_hand(stage):
    # x = 3 e1 o e1 o e1 + 2 e2 o e2 o e1 + 1 e2 o e1 o e2.  X_(1) X_(1)^T = diag(9, 5), X_(2) X_(2)^T = diag(10, 4),
    # X_(3) X_(3)^T = diag(13, 1): the HOSVD basis of every mode is (e1, e2), so ranks (1, 2, 1) keep 3 e1 o e1 o e1
    # alone (e2 o e2 o e1 is cut in mode 1), whatever the sweeps, and the error is sqrt(4 + 1) of sqrt(14).
    x = np.zeros((2, 2, 2))
    x[0, 0, 0], x[1, 1, 0], x[1, 0, 1] = 3, 2, 1
    for sweeps in (0, 1):
        # rank 2 in mode 2 is above 1 * 1, the product of the others: it is cut to 1
        core, factors, x_hat = both(stage, x, ranks=(1, 2, 1), sweeps=sweeps)
        assert core.shape == (1, 1, 1)
        np.testing.assert_allclose(np.abs(core), [[[3.0]]], atol=EPS)
        np.testing.assert_allclose(np.abs(factors[0]), [[1.0], [0.0]], atol=EPS)
        np.testing.assert_allclose(x_hat, np.where(x == 3, 3, 0), atol=EPS)
    # modes (0, 2) at ranks (2, 1): mode 1 keeps its size, and only 1 e2 o e1 o e2 is lost
    core, _, x_hat = both(stage, x, ranks=(2, 1), modes=(0, 2))
    assert core.shape == (2, 2, 1)
    np.testing.assert_allclose(x_hat, np.where(x == 1, 0, x), atol=EPS)


@stages
def test_ranks_above_what_there_is(stage):
    x = np.random.default_rng(0).standard_normal((7, 2, 3))
    core, factors, x_hat = both(stage, x, ranks=(99, 99, 99), sweeps=1)
    assert core.shape == (6, 2, 3)  # mode 1 has 7 entries, but X_(1) is 7 x 6
    np.testing.assert_allclose(x_hat, x, atol=1e-11)
    for factor in factors:
        np.testing.assert_allclose(factor.T @ factor, np.eye(factor.shape[1]), atol=EPS)


@stages
def test_sweeps_never_raise_the_error(stage):
    x = np.random.default_rng(1).standard_normal((5, 6, 4, 3))
    errors = [error(x, both(stage, x, ranks=(2, 2, 3), modes=(1, 0, 2), sweeps=sweeps)[2]) for sweeps in range(5)]
    assert all(after <= before + EPS for before, after in itertools.pairwise(errors))
    assert errors[-1] < errors[0] - 1e-3  # and they do lower it


@stages
@pytest.mark.parametrize("x", [np.zeros((3, 4, 2)), np.ones((3, 4, 2)), np.eye(12).reshape(3, 4, 12)])
def test_degenerate_spectra(stage, x):
    _, factors, x_hat = both(stage, x, ranks=(2, 2, 2), sweeps=2)
    assert np.isfinite(x_hat).all()
    assert np.linalg.norm(x_hat) <= np.linalg.norm(x) * (1 + EPS)
    for factor in factors:
        np.testing.assert_allclose(factor.T @ factor, np.eye(factor.shape[1]), atol=EPS)


@stages
@pytest.mark.parametrize("sweeps", [1, 3])
def test_not_worse_than_tensorly(stage, sweeps):
    decomposition = pytest.importorskip("tensorly.decomposition", reason="tensorly is the external oracle")
    tensorly = pytest.importorskip("tensorly")
    x = np.random.default_rng(2).standard_normal((8, 7, 3, 3))
    (core, factors), _ = decomposition.partial_tucker(x, rank=[4, 3], modes=[0, 1], n_iter_max=sweeps, tol=0)
    theirs = tensorly.tenalg.multi_mode_dot(core, factors, modes=[0, 1])
    _, _, ours = both(stage, x, ranks=(4, 3), modes=(0, 1), sweeps=sweeps)
    np.testing.assert_allclose(ours, theirs, atol=1e-9)  # same start, same sweeps: the same tensor
    assert error(x, ours) <= error(x, theirs) + EPS


def test_float32_keeps_small_singular_values():
    # singular values 1 to 1e-5: in a float32 Gram matrix the smallest, 1e-10 after squaring, would be noise of 1e-7
    rng = np.random.default_rng(3)
    u, v = (np.linalg.qr(rng.standard_normal((n, 6)))[0] for n in (20, 36))
    x = torch.from_numpy((u * np.logspace(0, -5, 6)) @ v.T).float().reshape(20, 6, 6)
    x = torch.stack([x, torch.from_numpy(rng.standard_normal((20, 6, 6))).float()])  # one is easy, the other is not
    for ranks, modes in (((6,), (0,)), ((6, 6), (0, 1))):  # the mode of interest last, and not last
        code = stage3_torch.tucker(x, ranks, modes, 0, batch=1)
        x_hat = stage3_torch.untucker(code, modes=modes)
        assert (x - x_hat)[0].norm() <= 1e-6 * x[0].norm()


def test_float32_is_enough_for_what_is_no_small_part():
    # rank 20 of 60, singular values 1 to 0.12: float64 comes to 1e-7, float32 to the 1e-6 of its own arithmetic
    rng = np.random.default_rng(4)
    u, v = (np.linalg.qr(rng.standard_normal((n, 20)))[0] for n in (60, 81))
    x = torch.from_numpy((u * np.linspace(1, 0.12, 20)) @ v.T).float().reshape(60, 9, 9)
    code = stage3_torch.tucker(x, (20,), (0,))
    assert (x - stage3_torch.untucker(code, modes=(0,))).norm() <= 4e-6 * x.norm()
    torch.testing.assert_close(code.factors[0].mT @ code.factors[0], torch.eye(20), atol=4e-6, rtol=0)


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e30])
def test_float32_squares_may_vanish_or_overflow(scale):
    x = scale * torch.randn(20, 6, 6, generator=torch.Generator().manual_seed(0))
    x_hat = stage3_torch.untucker(stage3_torch.tucker(x, (20, 6), (0, 1)), modes=(0, 1))
    assert (x / scale - x_hat / scale).norm() <= 4e-6 * (x / scale).norm()


@pytest.mark.parametrize("x", [torch.zeros(3, 3, 3), torch.eye(9).reshape(3, 3, 9), torch.ones(3, 3, 3)])
def test_gradient_is_finite_without_gaps(x):
    x = x.double().requires_grad_()
    stage3_torch.untucker(stage3_torch.tucker(x, (2, 3, 3), sweeps=1)).square().sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.parametrize("shape", [(255, 7), (256, 3), (2, 513, 40)])
def test_a_product_with_itself_by_halves_is_the_product(shape):
    y = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(*shape[:-1], shape[-2], dtype=torch.float64)
    halves, whole = (torch.autograd.grad((product * weight).sum(), y)[0] for product in (syrk(y), y @ y.mT))
    assert torch.allclose(syrk(y), y @ y.mT, rtol=0, atol=1e-12)
    assert torch.allclose(halves, whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    x = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0)).to(dtype)
    code = stage3_torch.tucker(x, (4, 5, 3))
    x_hat = stage3_torch.untucker(code)
    assert {code.core.dtype, *(u.dtype for u in code.factors), x_hat.dtype} == {dtype}
    assert (x - x_hat).float().norm() <= 4 * torch.finfo(dtype).eps * x.float().norm()  # core and factors rounded


def test_compiles():
    x = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))

    def there_and_back(x):
        return stage3_torch.untucker(stage3_torch.tucker(x, (2, 2), (0, 1), 1), modes=(0, 1))

    compiled = torch.compile(there_and_back, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), there_and_back(x))


@stages
def test_decode_refuses_what_does_not_fit(stage):
    encode, decode = pair(stage, "tucker")
    code = encode(to_stage(stage, np.ones((3, 4))), (2, 2))
    for broken, argument in [
        (code._replace(factors=code.factors[:1]), "code.factors must"),
        (code._replace(factors=(code.factors[0][:, :0], code.factors[1])), "code.factors[0].shape must"),
    ]:
        with pytest.raises(ValueError, match="must be") as refusal:
            decode(broken)
        assert str(refusal.value).startswith(argument)
