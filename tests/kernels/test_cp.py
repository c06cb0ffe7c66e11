"""CP: values worked by hand, the error that never rises, degenerate tensors, the bound, and tensorly."""

import itertools

import numpy as np
import pytest
import torch
from test_contract import pair, stages, to_stage
from torch.autograd import gradcheck

import stage3_torch

EPS = 1e-12  # float64 rounding through a few sweeps on tensors with entries near 1


def both(stage, x, *args, **spec):
    """(weights, factors, reconstruction) as NumPy arrays."""
    encode, decode = pair(stage, "cp")
    code = encode(to_stage(stage, x), *args, **spec)
    return np.asarray(code.weights), [np.asarray(f) for f in code.factors], np.asarray(decode(code))


def error(x, x_hat):
    return np.linalg.norm(x - x_hat) / np.linalg.norm(x)


def outer(*vectors):
    return np.einsum("i,j,k->ijk", *vectors)


def border(a, b):
    """Rank 3, and the limit of tensors of rank 2 whose components grow without end (De Silva & Lim 2008, prop. 4.6)."""
    return outer(a, a, b) + outer(a, b, a) + outer(b, a, a)


def collinear():
    """Five components whose factors meet at cos(angle) above 0.99 in every mode."""
    rng = np.random.default_rng(5)
    base = [rng.standard_normal((n, 1)) for n in (6, 5, 4)]
    return np.einsum("ik,jk,lk->ijl", *(f + 0.1 * rng.standard_normal((len(f), 5)) for f in base))


DEGENERATE = {
    "zeros": (np.zeros((3, 4, 2)), 3),
    "ones": (np.ones((3, 4, 2)), 3),
    "border rank": (border(*np.random.default_rng(1).standard_normal((2, 4))), 2),
    "border rank at a saddle": (border(*np.eye(3)[:2]), 2),  # the start is stationary: two of the three terms
    "collinear": (collinear(), 4),
    "rank above every mode": (np.random.default_rng(6).standard_normal((3, 3, 3)), 7),
    "rank above what there is": (np.random.default_rng(7).standard_normal((2, 3, 2)), 99),
    "one slice": (np.pad(np.ones((1, 3, 3)), ((0, 2), (0, 0), (0, 0))), 4),
}
degenerate = pytest.mark.parametrize(("x", "rank"), DEGENERATE.values(), ids=DEGENERATE)


@stages
def test_by_hand(stage):
    # x = 3 e1 o e1 o e1 + 2 e2 o e2 o e2: its components are orthogonal, so they are what every rank finds.  Rank 1
    # keeps the larger; the error is 2 of sqrt(13).
    e1, e2 = np.eye(2)
    x = 3 * outer(e1, e1, e1) + 2 * outer(e2, e2, e2)
    for rank, sweeps in itertools.product((1, 2), (0, 1, 4)):
        weights, factors, x_hat = both(stage, x, rank, sweeps)
        np.testing.assert_allclose(weights, [3, 2][:rank], atol=EPS)
        for factor in factors:
            np.testing.assert_allclose(np.abs(factor), np.eye(2)[:, :rank], atol=EPS)
        np.testing.assert_allclose(error(x, x_hat), [2 / np.sqrt(13), 0][rank - 1], atol=EPS)


@stages
def test_one_sweep_by_hand(stage):
    # x[:, :, 0] = diag(2, 0), x[:, :, 1] = diag(1, 1).  X_(1) X_(1)^T = diag(5, 1) but X_(3) X_(3)^T = [[4, 2], [2, 2]]
    # = V diag(3 + r5, 3 - r5) V^T with r5 = sqrt(5); its first vector (p, q) gives the slice diag(2 p + q, q), whose
    # largest term starts from e1 o e1 o (p, q).  Every update then is exact: A = B = e1 stay, and C solves
    # min |x[0, 0, :] - c|: c = (2, 1), up to the ridge of 1e-4 towards the current factor, (2 p + q)(p, q).
    x = np.zeros((2, 2, 2))
    x[0, 0], x[1, 1] = (2, 1), (0, 1)
    p, q = np.array([2, np.sqrt(5) - 1]) / np.hypot(2, np.sqrt(5) - 1)
    weights, factors, x_hat = both(stage, x, 1, 0)
    np.testing.assert_allclose(weights, [2 * p + q], atol=EPS)
    np.testing.assert_allclose(np.abs(factors[2][:, 0]), [p, q], atol=EPS)
    c = (np.array([2, 1]) + 1e-4 * (2 * p + q) * np.array([p, q])) / (1 + 1e-4)
    c = c * (c @ [2, 1]) / (c @ c)  # and the scale that makes it a projection
    weights, factors, x_hat = both(stage, x, 1, 1)
    np.testing.assert_allclose(x_hat[0, 0], c, atol=EPS)
    np.testing.assert_allclose(x_hat[1], 0, atol=EPS)


@stages
@degenerate
def test_degenerate(stage, x, rank):
    # with a step of size 1e-4 per unit of curvature at least, components grow slowly: 100 times |x| is far off
    weights, factors, x_hat = both(stage, x, rank, 100)
    assert np.isfinite(x_hat).all()
    assert np.linalg.norm(weights) <= 100 * np.linalg.norm(x)
    for factor in factors:
        np.testing.assert_allclose(np.linalg.norm(factor, axis=0), 1, atol=EPS)
    again = both(stage, x, rank, 100)
    np.testing.assert_array_equal(x_hat, again[2])


@stages
@degenerate
@pytest.mark.parametrize("ridge", [0.0, 0.5])
def test_error_never_rises(stage, x, rank, ridge):
    energy = np.linalg.norm(x)
    errors = [np.linalg.norm(x - both(stage, x, rank, sweeps, ridge)[2]) for sweeps in range(12)]
    assert all(after <= before + EPS * energy for before, after in itertools.pairwise(errors))


def test_error_never_rises_in_float32():
    x = torch.randn(12, 10, 3, 3, generator=torch.Generator().manual_seed(0))
    errors = [(x - stage3_torch.uncp(stage3_torch.cp(x, 20, sweeps))).norm() for sweeps in range(30)]
    assert all(after <= before + 1e-6 * x.norm() for before, after in itertools.pairwise(errors))  # 1e-6: 8 eps


@stages
def test_enough_rank_is_exact_at_once(stage):
    x = np.random.default_rng(8).standard_normal((4, 3, 2))
    weights, _, x_hat = both(stage, x, 99, 0)
    assert len(weights) == 6  # 4 * 3 * 2 / 4, the largest rank a 4 x 3 x 2 tensor can need by its slices
    np.testing.assert_allclose(x_hat, x, atol=EPS)


@stages
@pytest.mark.parametrize("delta", [0.0, 0.1, 0.3])
def test_bound_shrinks_the_components(stage, delta):
    for x, rank in (DEGENERATE["border rank"], DEGENERATE["collinear"]):
        free, _, before = both(stage, x, rank, 40)
        weights, _, after = both(stage, x, rank, 40, bound=delta)
        allowed = max(delta, error(x, before))
        assert error(x, after) <= allowed + 1e-9  # the root is found to 12 digits of mu
        assert np.linalg.norm(weights) <= np.linalg.norm(free) * (1 + EPS)
        if delta > 0:  # spent error does buy stability
            assert np.linalg.norm(weights) < 0.7 * np.linalg.norm(free)


@pytest.mark.parametrize("stage", ["numpy", "torch"])
@pytest.mark.parametrize("delta", [0.0, 0.2, 0.6])
def test_bound_agrees_with_scipy(stage, delta):
    x = np.random.default_rng(9).standard_normal((4, 3, 3))
    want = both("scipy", x, 4, 3, bound=delta)
    have = both(stage, x, 4, 3, bound=delta)
    np.testing.assert_allclose(have[2], want[2], atol=1e-8)  # two root finders, 12 digits each, six steps
    np.testing.assert_allclose(have[0], want[0], atol=1e-7)


def test_bound_has_a_gradient():
    x = torch.randn(4, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    assert gradcheck(lambda x: stage3_torch.uncp(stage3_torch.cp(x, 3, 1, bound=0.5)), x, atol=1e-4, fast_mode=True)


@stages
@pytest.mark.filterwarnings("ignore:Trying to compute SVD")  # tensorly's own start where the rank is above a mode
@pytest.mark.parametrize("sweeps", [1, 10, 50])
def test_not_worse_than_tensorly(stage, sweeps):
    decomposition = pytest.importorskip("tensorly.decomposition", reason="tensorly is the external oracle")
    tensorly = pytest.importorskip("tensorly")
    ours, own, same = [], [], []
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal((8, 7, 3, 3))
        weights, factors, _ = both(stage, x, 6, 0)
        start = tensorly.cp_tensor.CPTensor((None, [factors[0] * weights, *factors[1:]]))
        ours.append(error(x, both(stage, x, 6, sweeps)[2]))
        for errors, init in ((own, "svd"), (same, start)):
            theirs = decomposition.parafac(x, 6, n_iter_max=sweeps, init=init, tol=0, random_state=0)
            errors.append(error(x, tensorly.cp_to_tensor(theirs)))
    # which local minimum a start leads to is luck, so the starts are compared by their mean
    assert np.mean(ours) <= np.mean(own)
    # from equal starts the same iterates, but for the ridge of 1e-4, which shortens a step by at most 1e-4
    np.testing.assert_allclose(ours, same, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    x = torch.randn(4, 3, 2, generator=torch.Generator().manual_seed(0)).to(dtype)
    code = stage3_torch.cp(x, 6, 3)
    x_hat = stage3_torch.uncp(code)
    assert {code.weights.dtype, *(f.dtype for f in code.factors), x_hat.dtype} == {dtype}
    assert (x - x_hat).float().norm() <= 8 * torch.finfo(dtype).eps * x.float().norm()  # every leaf is rounded


@pytest.mark.parametrize(("bound", "sweeps"), [(None, 2), pytest.param(0.5, 1, marks=pytest.mark.slow)])
def test_compiles(bound, sweeps):
    x = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))

    def there_and_back(x):
        return stage3_torch.uncp(stage3_torch.cp(x, 3, sweeps, bound=bound))

    compiled = torch.compile(there_and_back, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), there_and_back(x))


@pytest.mark.parametrize("bound", [None, 0.4])
def test_two_batch_axes(bound):
    x = torch.randn(2, 3, 4, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    code = stage3_torch.cp(x, 3, 2, bound=bound, batch=2)
    x_hat = stage3_torch.uncp(code)
    for i, j in itertools.product(range(2), range(3)):
        alone = stage3_torch.uncp(stage3_torch.cp(x[i, j], 3, 2, bound=bound))
        torch.testing.assert_close(x_hat[i, j], alone, atol=1e-9, rtol=0)


@stages
def test_decode_refuses_what_does_not_fit(stage):
    encode, decode = pair(stage, "cp")
    code = encode(to_stage(stage, np.ones((3, 4))), 2)
    with pytest.raises(ValueError, match=r"^code.factors\[1\].shape must be \(n, 2\), got \(4, 1\)"):
        decode(code._replace(factors=(code.factors[0], code.factors[1][:, :1])))
