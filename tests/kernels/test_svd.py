"""Truncated SVD beyond the contract: values by hand, the optimum, hard spectra in float32, dtypes, graphs."""

import numpy as np
import pytest
import torch
from torch.autograd import gradcheck

import stage1_scipy
import stage2_numpy
import stage3_torch
from contract import SVD
from stage3_torch.svd import left_basis

STAGES = {"scipy": stage1_scipy, "numpy": stage2_numpy, "torch": stage3_torch}
stages = pytest.mark.parametrize("stage", STAGES)
SPECTRA = {
    "gap": [1, 0.5, 0.1, 1e-3, 1e-4, 1e-5],
    "below float32": [1, 1e-2, 1e-5, 1e-7, 1e-9, 1e-12],
    "equal": [1, 1, 1, 1, 1, 1],
    "one": [1, 0, 0, 0, 0, 0],
    "zero": [0, 0, 0, 0, 0, 0],
}
shapes = pytest.mark.parametrize("shape", [(6, 40), (40, 6), (6, 6)])


def put(stage, x):
    return torch.from_numpy(x) if stage == "torch" else x


def matrix(s, shape, seed=0):
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.standard_normal((n, len(s))))[0] for n in shape)
    return (u * s) @ v.T


@stages
def test_by_hand(stage):
    # x x^T = [[9, 12], [12, 41]] has the eigenvalues 45 and 5; u_1 = (1, 3) / sqrt(10), v_1 = (1, 1) / sqrt(2), and
    # sqrt(45) u_1 v_1^T = 1.5 [[1, 1], [3, 3]]
    code = STAGES[stage].svd(put(stage, np.array([[3.0, 0.0], [4.0, 5.0]])), 1)
    np.testing.assert_allclose(code.s, [45**0.5], rtol=1e-14)
    np.testing.assert_allclose(np.abs(np.asarray(code.u)[:, 0]), [0.1**0.5, 0.9**0.5], rtol=1e-14)
    np.testing.assert_allclose(STAGES[stage].unsvd(code), [[1.5, 1.5], [4.5, 4.5]], rtol=1e-14)


@stages
@shapes
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_hard_spectra(stage, shape, dtype, spectrum):
    """Orthonormal vectors and the optimal error, however small or equal the singular values are."""
    s, eps = np.array(SPECTRA[spectrum], float), 20 * np.finfo(dtype).eps  # 20: a sum over 40 products
    x = matrix(s, shape).astype(dtype)
    for rank in (1, 3, 6):
        code = SVD(*map(np.asarray, STAGES[stage].svd(put(stage, x), rank)))
        assert {a.dtype for a in code} == {np.dtype(dtype)}
        np.testing.assert_allclose(code.u.T @ code.u, np.eye(rank), atol=eps)
        np.testing.assert_allclose(code.vt @ code.vt.T, np.eye(rank), atol=eps)
        np.testing.assert_allclose(code.s, s[:rank], atol=eps)
        assert (np.diff(code.s) <= 0).all()
        back = np.asarray(STAGES[stage].unsvd(STAGES[stage].svd(put(stage, x), rank)))
        assert np.linalg.norm(x - back) <= np.linalg.norm(s[rank:]) + eps


@shapes
def test_left_basis_is_that_of_svd(shape):
    x = torch.from_numpy(matrix([5, 4, 3, 2, 1, 0.5], shape))
    for dtype, tol in ((torch.float64, 1e-12), (torch.float32, 1e-5)):  # rounding over a gap of a tenth
        u = left_basis(x.to(dtype), 4).double()
        want = stage3_torch.svd(x, 4).u
        torch.testing.assert_close(u @ u.T, want @ want.T, atol=tol, rtol=0)


def project(x):
    return stage3_torch.unsvd(stage3_torch.svd(x, 3))


@shapes
def test_gradients_need_a_gap_only_where_they_must(shape):
    """Equal values among the kept and among the cut, zero ones too: finite, and right by finite differences."""
    for spectrum in ([5, 4, 3, 2, 1, 0.5], [5, 3, 3, 1, 1, 1], [5, 4, 3, 0, 0, 0], [3, 3, 3, 2, 0, 0]):
        x = torch.from_numpy(matrix(spectrum, shape)).requires_grad_()
        assert gradcheck(project, x, fast_mode=True)
    x = torch.from_numpy(matrix([5, 4, 3, 2, 1, 0.5], (6, 9)))
    x[[1, 4]] = 0  # two pruned filters
    assert gradcheck(project, x.requires_grad_(), fast_mode=True)
    eye = torch.eye(3, dtype=torch.float64, requires_grad=True)
    assert gradcheck(project, eye, fast_mode=True)  # all kept: the identity


@shapes
def test_gradients_of_the_code_itself(shape):
    """u, s and vt one by one, against autograd's own rule where that has an answer."""
    x = torch.from_numpy(matrix([5, 4, 3, 2, 1, 0.5], shape)).requires_grad_()
    want = torch.linalg.svd(x, full_matrices=False)
    weights = [torch.from_numpy(np.random.default_rng(i).standard_normal(a.shape)) for i, a in enumerate(want)]
    weights = [w[:, :3] if i == 0 else w[:3] for i, w in enumerate(weights)]

    def loss(u, s, vt):  # squares, which no sign can change
        return (weights[0] * u[:, :3] ** 2).sum() + (weights[1] * s[:3]).sum() + (weights[2] * vt[:3] ** 2).sum()

    (a,) = torch.autograd.grad(loss(*stage3_torch.svd(x, 3)), x)
    (b,) = torch.autograd.grad(loss(*want), x)
    torch.testing.assert_close(a, b)
    y = x.detach().float().requires_grad_()
    weights = [w.float() for w in weights]
    (c,) = torch.autograd.grad(loss(*stage3_torch.svd(y, 3)), y)
    torch.testing.assert_close(c.double(), b, atol=1e-4, rtol=1e-4)  # float32, times 1 / gap


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    x = torch.from_numpy(matrix([5, 4, 3, 2, 1, 0.5], (8, 6))).to(dtype)
    code = stage3_torch.svd(x, 6)
    back = stage3_torch.unsvd(code)
    assert {a.dtype for a in (*code, back)} == {dtype}
    torch.testing.assert_close(back.float(), x.float(), atol=20 * torch.finfo(dtype).eps, rtol=0)  # 6 products of 3


def test_deterministic_and_batched():
    x = torch.from_numpy(matrix([5, 4, 3, 2, 1, 0.5], (6, 9)).astype(np.float32))
    many = stage3_torch.svd(torch.stack([x, 2 * x]).reshape(1, 2, 6, 9), 2)
    again = stage3_torch.svd(torch.stack([x, 2 * x]).reshape(1, 2, 6, 9), 2)
    assert all(torch.equal(a, b) for a, b in zip(many, again))
    assert [tuple(a.shape) for a in many] == [(1, 2, 6, 2), (1, 2, 2), (1, 2, 2, 9)]
    torch.testing.assert_close(stage3_torch.unsvd(many)[0, 1], 2 * stage3_torch.unsvd(stage3_torch.svd(x, 2)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiles_to_one_graph(dtype):
    def both(x):
        return stage3_torch.unsvd(stage3_torch.svd(x, 3))

    x = torch.from_numpy(matrix([5, 4, 3, 2, 1, 0.5], (6, 9))).to(dtype)
    torch.testing.assert_close(torch.compile(both, fullgraph=True, backend="aot_eager")(x), both(x))


@stages
def test_refuses_factors_that_do_not_fit(stage):
    u, s, vt = STAGES[stage].svd(put(stage, np.eye(3)), 2)
    with pytest.raises(ValueError, match=r"^code must be .*, got "):
        STAGES[stage].unsvd(SVD(u, s[:1], vt))
