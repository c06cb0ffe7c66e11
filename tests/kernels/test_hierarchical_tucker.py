"""Hierarchical Tucker beyond the contract: values by hand, error bounds, trees, ranks, tolerances, batches."""

import json
from functools import reduce
from math import prod

import numpy as np
import pytest
import torch
from cases import trees
from hypothesis import given, strategies as st
from torch.autograd import gradcheck

import stage1_scipy
import stage2_numpy
import stage3_torch
from contract import KERNELS, Leaf, Node, leaves, refill
from trees import post_order

DECODING = KERNELS["ht"].decoding
STAGES = {"scipy": stage1_scipy, "numpy": stage2_numpy, "torch": stage3_torch}
stages = pytest.mark.parametrize("stage", STAGES)


def both(stage, x, **spec):
    """(code, reconstruction) as NumPy."""
    code = STAGES[stage].ht(torch.from_numpy(x) if stage == "torch" else x, **spec)
    back = np.asarray(STAGES[stage].unht(code, **DECODING(spec)))
    return refill(code, iter([np.asarray(a) for a in leaves(code)])), back


def outer(*vectors):
    return reduce(np.multiply.outer, vectors)


def modes(t):
    return [m for m in post_order(t) if isinstance(m, int)]


def tail(x, t, rank):
    """The error of the best approximation whose unfolding at node t has that rank: an oracle from one plain SVD."""
    y = np.moveaxis(x, modes(t), range(len(modes(t)))).reshape(prod(x.shape[m] for m in modes(t)), -1)
    return np.linalg.norm(np.linalg.svd(y, compute_uv=False)[rank:])


@stages
def test_by_hand(stage):
    # x = 3 e000 + 2 e111.  Every unfolding has the singular values 3 and 2 and unit vectors for singular vectors, so
    # with all ranks 2 the bases are unit matrices, the node (0, 1) joins e0 e0 and e1 e1, and the root is diag(3, 2).
    # Cut to rank 1 at the node (0, 1) alone (number 3 in post order) x keeps 3 e000.
    e = np.eye(2)
    x = 3 * outer(e[0], e[0], e[0]) + 2 * outer(e[1], e[1], e[1])
    code, back = both(stage, x, rank=2, tree=((0, 1), 2))
    np.testing.assert_allclose(back, x, atol=1e-14)
    np.testing.assert_allclose(abs(code.b[..., 0]), np.diag([3, 2]), atol=1e-14)
    np.testing.assert_allclose(abs(code.right.u), e, atol=1e-14)
    np.testing.assert_allclose(abs(code.left.b), outer(e[0], e[0], e[0]) + outer(e[1], e[1], e[1]), atol=1e-14)
    code, back = both(stage, x, rank=(2, 2, 1, 2), tree=((0, 1), 2))
    assert code.left.b.shape == (2, 2, 1)
    np.testing.assert_allclose(back, 3 * outer(e[0], e[0], e[0]), atol=1e-14)


@stages
def test_the_tree_may_pair_distant_modes(stage):
    # x[i, j, k, l] = a[i, k] b[j, l]: one term between the modes (0, 2) and (1, 3), four between (0, 1) and (2, 3)
    a, b = np.array([[1.0, 2], [3, 4]]), np.array([[2.0, 0, 1], [1, 1, 0]])
    x = np.einsum("ik,jl->ijkl", a, b)
    ranks = (2, 2, 1, 2, 2, 1)
    code, back = both(stage, x, rank=ranks, tree=((0, 2), (3, 1)))
    np.testing.assert_allclose(back, x, atol=1e-13)
    assert [u.shape for u in (code.left.right.u, code.right.left.u)] == [(2, 2), (3, 2)]
    far = both(stage, x, rank=ranks, tree=((0, 1), (2, 3)))[1]
    # the best of rank 1 between (0, 1) and (2, 3) is s_1(a) s_1(b), as a Kronecker product has products for values
    best = np.linalg.norm(np.outer(*(np.linalg.svd(m, compute_uv=False) for m in (a, b))).ravel()[1:])
    assert np.linalg.norm(x - far) == pytest.approx(best, rel=1e-12)


@stages
def test_one_and_two_modes(stage):
    code, back = both(stage, np.array([3.0, 4.0]), rank=1)
    assert isinstance(code, Leaf)
    assert code.u.shape == (2, 1)
    np.testing.assert_allclose(back, [3, 4])
    np.testing.assert_allclose(both(stage, np.array([3.0, 4.0]), tol=0.5)[1], [3, 4])
    x = np.array([[3.0, 0], [4, 5]])  # singular values sqrt(45), sqrt(5): see test_svd
    code, back = both(stage, x, rank=2)
    np.testing.assert_allclose(abs(code.b[..., 0]), np.diag([45**0.5, 5**0.5]), atol=1e-14)
    np.testing.assert_allclose(back, x, atol=1e-14)
    np.testing.assert_allclose(both(stage, x, rank=1, tree=(1, 0))[1], [[1.5, 1.5], [4.5, 4.5]], atol=1e-14)


@stages
@given(data=st.data())
def test_error_bound(stage, data):
    """Not above the sum of the squared tails of 2d - 3 unfoldings, hence not above sqrt(2d - 3) times the best."""
    shape = data.draw(st.lists(st.integers(2, 5), min_size=2, max_size=4))
    tree = data.draw(st.permutations(range(len(shape))).flatmap(trees))
    x = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))).standard_normal(shape)
    rank = data.draw(st.integers(1, 4))
    code, back = both(stage, x, rank=rank, tree=tree)
    nodes = [t for t in post_order(tree) if t not in (tree, tree[1])]  # the root's children share one unfolding
    assert len(nodes) == 2 * len(shape) - 3
    tails = [tail(x, t, rank) for t in nodes]
    error = np.linalg.norm(x - back)
    assert max(tails) - 1e-10 <= error <= np.sqrt(np.sum(np.square(tails))) + 1e-10  # max(tails) <= best <= error
    for array in leaves(code)[1:]:  # all but the root's
        u = array.reshape(-1, array.shape[-1])
        np.testing.assert_allclose(u.T @ u, np.eye(u.shape[1]), atol=1e-12)


@stages
@given(data=st.data())
def test_tolerance(stage, data):
    shape = data.draw(st.lists(st.integers(2, 5), min_size=1, max_size=4))
    tree = data.draw(st.permutations(range(len(shape))).flatmap(trees))
    x = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))).standard_normal(shape)
    tol = data.draw(st.floats(0, 0.99))
    back = both(stage, x, tree=tree, tol=tol)[1]
    assert np.linalg.norm(x - back) <= tol * np.linalg.norm(x) * (1 + 1e-12) + 1e-12


@stages
def test_the_tolerance_is_not_spent_twice_at_the_root(stage):
    # dropping one 1 of diag(10, 1, 1) uses it up; cutting the right child by the same rule would drop the other too
    x = np.diag([10.0, 1.0, 1.0])
    code, back = both(stage, x, tol=1.2 / 102**0.5)
    assert code.b.shape == (2, 2, 1)
    assert np.linalg.norm(x - back) == pytest.approx(1)


@stages
def test_the_tolerance_finds_exact_ranks(stage):
    rng = np.random.default_rng(0)
    x = np.einsum("ia,ja,ka,la->ijkl", *(rng.standard_normal((n, 2)) for n in (5, 6, 3, 4)))
    code, back = both(stage, x, tol=1e-6)
    assert [a.shape[-1] for a in leaves(code)] == [1, 2, 2, 2, 2, 2, 2]
    np.testing.assert_allclose(back, x, atol=1e-5 * abs(x).max())
    assert max(a.shape[-1] for a in leaves(both(stage, x, tol=1e-6, rank=1)[0])) == 1  # the rank still caps


@stages
def test_the_default_tree_is_balanced(stage):
    x = np.random.default_rng(0).standard_normal((2, 3, 2, 3, 2))
    for a, b in zip(leaves(both(stage, x, rank=2)[0]), leaves(both(stage, x, rank=2, tree=(((0, 1), 2), (3, 4)))[0])):
        np.testing.assert_array_equal(a, b)


@stages
def test_zero(stage):
    for spec in ({"rank": 2}, {"tol": 0.1}):
        assert not both(stage, np.zeros((2, 3, 4)), **spec)[1].any()


@stages
@pytest.mark.parametrize(
    "tree", [0, (0, 1, 2), ((0, 1), (2, 2)), ((0, 1), 1), ((0, 1), 3), (0, 1), ((0, -2), 1), "0", ((0,), (1, 2)), {}]
)
def test_refuses_trees(stage, tree):
    with pytest.raises(ValueError, match=r"^tree must be .*, got "):
        both(stage, np.ones((2, 2, 2)), rank=1, tree=tree)


@stages
@pytest.mark.parametrize(
    ("argument", "spec"),
    [
        ("rank", {"rank": (1, 1, 1)}),
        ("rank", {"rank": (1, 1, 1, 0)}),
        ("rank", {"rank": 1.5}),
        ("rank", {}),
        ("tol", {"tol": -0.1}),
        ("tol", {"tol": float("nan")}),
    ],
)
def test_refuses_ranks_and_tolerances(stage, argument, spec):
    with pytest.raises(ValueError, match=rf"^{argument} must be .*, got "):
        both(stage, np.ones((2, 2, 2)), **spec)


@stages
def test_refuses_another_tree_or_code(stage):
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    code = both(stage, x, rank=2, tree=((0, 1), 2))[0]
    code = refill(code, iter([torch.from_numpy(a) if stage == "torch" else a for a in leaves(code)]))
    with pytest.raises(ValueError, match=r"^tree must be .*, got "):
        STAGES[stage].unht(code, tree=(0, (1, 2)))
    with pytest.raises(ValueError, match=r"^code must be .*, got "):
        STAGES[stage].unht(Node(code.b[:1], code.left, code.right), tree=((0, 1), 2))


@stages
def test_a_spec_may_come_from_json(stage):
    x = np.random.default_rng(0).standard_normal((3, 3, 3, 3))
    spec = {"rank": (3, 2, 2, 3, 3, 2), "tree": ((0, 2), (3, 1))}
    np.testing.assert_array_equal(both(stage, x, **json.loads(json.dumps(spec)))[1], both(stage, x, **spec)[1])


@pytest.mark.parametrize("spec", [{"rank": 2}, {"rank": 3, "tree": (2, (0, 1))}, {"tol": 0.3}])
def test_batch_axes(spec):
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 3, 4, 5)))
    if "tol" in spec:
        x[0, 0] = 1  # of rank 1, while the others need more
    code = stage3_torch.ht(x, batch=2, **spec)
    assert all(a.shape[:2] == (2, 3) for a in leaves(code))
    back = stage3_torch.unht(code, **DECODING(spec))
    assert back.shape == x.shape
    for i in range(2):
        for j in range(3):
            one = stage3_torch.unht(stage3_torch.ht(x[i, j], **spec), **DECODING(spec))
            if "tol" in spec:  # one rank serves the whole batch: the largest
                assert torch.linalg.vector_norm(x[i, j] - back[i, j]) <= 0.3 * torch.linalg.vector_norm(x[i, j])
            else:
                torch.testing.assert_close(back[i, j], one)
    with pytest.raises(ValueError, match=r"^batch must be .*, got 5"):
        stage3_torch.ht(x, 2, batch=5)


def test_gradients_of_a_batch_and_of_float32():
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 4, 2))).requires_grad_()
    assert gradcheck(lambda x: stage3_torch.unht(stage3_torch.ht(x, 2, (2, (0, 1)), batch=1), tree=(2, (0, 1))), x)
    y = x.detach().float().requires_grad_()
    want, got = (
        torch.autograd.grad(stage3_torch.unht(stage3_torch.ht(z, 2, batch=1)).pow(3).sum(), z)[0] for z in (x, y)
    )
    torch.testing.assert_close(got.double(), want, atol=1e-4, rtol=1e-4)  # float32, times 1 / gap


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 3, 2))).to(dtype)
    code = stage3_torch.ht(x, 4)
    back = stage3_torch.unht(code)
    assert {a.dtype for a in (*leaves(code), back)} == {dtype}
    torch.testing.assert_close(
        back.float(), x.float(), atol=20 * torch.finfo(dtype).eps, rtol=0
    )  # sums of products of 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_compiles_to_one_graph(dtype):
    def there_and_back(x):
        return stage3_torch.unht(stage3_torch.ht(x, 2, ((0, 2), (3, 1))), tree=((0, 2), (3, 1)))

    x = torch.from_numpy(np.random.default_rng(0).standard_normal((3, 4, 2, 3))).to(dtype)
    compiled = torch.compile(there_and_back, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), there_and_back(x))
