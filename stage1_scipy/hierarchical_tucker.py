"""Hierarchical Tucker as in the textbook: explicit bases of every node, explicit Kronecker products."""

from functools import reduce
from math import sqrt
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from arrays import check_array, check_arrays, narrow, restored, scaled
from contract import Leaf, Node, leaves
from trees import Tree, check_nodes, dimension_tree, node_ranks, post_order


class _Block(NamedTuple):
    """A node while the tree grows: its modes, the explicit basis u (product of their sizes, r), its code."""

    modes: tuple[int, ...]
    u: NDArray
    code: Any


def _kron(matrices: list[NDArray], dtype: np.dtype) -> NDArray:
    """A_1 kron A_2 kron ..., 1 for none."""
    return reduce(np.kron, matrices, np.ones((1, 1), dtype))


def _basis(y: NDArray, rank: int, limit: float | None) -> NDArray:
    """Return the first left singular vectors of y: at most `rank`, and no more than leave a tail of norm `limit`."""
    u, s, _ = scipy.linalg.svd(y, full_matrices=False)
    if limit is not None:
        rank = min(rank, next(r for r in range(1, len(s) + 1) if np.linalg.norm(s[r:]) <= limit))
    return u[:, :rank]


def ht(
    x: NDArray, rank: int | tuple[int, ...] | None = None, tree: Tree | None = None, tol: float | None = None
) -> Leaf[NDArray] | Node[NDArray]:
    """x (n_0, ..., n_{d-1}) ~ nested bases over a binary tree of its modes, truncated from the leaves to the root.

    tree: nested pairs of mode numbers such as ((0, 1), (2, 3)) or (0, (2, (3, 1))); None is balanced.
    rank: the largest rank of every node; a tuple gives one per node in post order (left, right, parent), no root.
    tol: ranks such that |x - x_hat| <= tol |x|: each of 2d - 3 cuts may drop tol / sqrt(2d - 3) |x|.

    The basis of a node is sought among the Kronecker products of its children's, for the tensor projected onto every
    basis found so far.  These projections are nested or act on different modes, hence commute: x_hat is an orthogonal
    projection of x, the squares of the cuts add up, and none exceeds the error of the best approximation with these
    ranks, so that |x - x_hat| <= sqrt(2d - 3) |x - x_best|: the bound of Grasedyck 2010, section 3.  (The root has
    two children but one cut: they share their singular values, so the tolerance is spent on the left one only.)

    Args:
        x: an array of floats with at least one axis.
        rank: the largest rank of every node, or one for each; None where `tol` decides.
        tree: nested pairs of mode numbers; None for the balanced tree.
        tol: the relative error allowed, in [0, 1); None where `rank` decides.

    Returns:
        The root, a Node of Nodes and Leaves (a Leaf for one axis).

    Raises:
        ValueError: x, rank, tree or tol cannot be used, or both rank and tol are None.

    Example:
        >>> code = ht(np.ones((4, 3, 2)), rank=1)
        >>> code.b.shape, code.left.left.u.shape
        ((1, 1, 1), (4, 1))
    """
    y, exponent = scaled(check_array(x))
    tree, ranks = dimension_tree(tree, y.ndim), node_ranks(rank, tol, y.ndim)
    cuts = max(2 * y.ndim - 3, 1)
    limits = [None if tol is None else tol / sqrt(cuts) * float(np.linalg.norm(y))] * cuts + [None]
    blocks: dict[Tree, _Block] = {m: _Block((m,), np.eye(n, dtype=y.dtype), None) for m, n in enumerate(y.shape)}
    for number, t in enumerate(post_order(tree)):
        here = [blocks.pop(child) for child in ([t] if isinstance(t, int) else t)]
        modes, w = sum((block.modes for block in here), ()), _kron([block.u for block in here], y.dtype)
        order = sum((block.modes for block in blocks.values()), modes)
        others = _kron([block.u for block in blocks.values()], y.dtype)
        core = w.T @ y.transpose(order).reshape(len(w), -1) @ others
        b = restored(core, exponent) if t == tree else _basis(core, ranks[number], limits[number])
        code: Any = Leaf(b)
        if len(here) == 2:
            code = Node(b.reshape(here[0].u.shape[1], here[1].u.shape[1], -1), here[0].code, here[1].code)
        blocks[t] = _Block(modes, w @ b, code)
    return narrow(blocks[tree].code, x.dtype)


def unht(code: Leaf[NDArray] | Node[NDArray], tree: Tree | None = None) -> NDArray:
    """x_hat (n_0, ..., n_{d-1}) is the basis of the root, every inner basis being (left kron right) b.

    Args:
        code: what `ht` returned.
        tree: the tree given to `ht`; None for the balanced one.

    Returns:
        The approximation, in the shape of x.

    Raises:
        ValueError: the code has not the shape of the tree.

    Example:
        >>> unht(ht(np.ones((2, 2)), rank=1)).round(6)
        array([[1., 1.],
               [1., 1.]])
    """
    tree = dimension_tree(tree, (len(leaves(code)) + 1) // 2)
    check_nodes(code, tree)
    dtype, code = leaves(code)[0].dtype, check_arrays(code)

    def basis(node: Leaf[NDArray] | Node[NDArray]) -> NDArray:
        if isinstance(node, Leaf):
            return node.u
        return np.kron(basis(node.left), basis(node.right)) @ node.b.reshape(-1, node.b.shape[2])

    modes = [t for t in post_order(tree) if isinstance(t, int)]
    sizes = [len(array) for array in _leaf_bases(code)]
    return narrow(basis(code).reshape(sizes).transpose(np.argsort(modes)), dtype)


def _leaf_bases(code: Leaf[NDArray] | Node[NDArray]) -> list[NDArray]:
    """Return the bases of the leaves, from left to right."""
    return [code.u] if isinstance(code, Leaf) else _leaf_bases(code.left) + _leaf_bases(code.right)
