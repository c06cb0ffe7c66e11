"""Hierarchical Tucker by contracting a shrinking core: no basis of an inner node is ever written out."""

from math import prod, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from arrays import check_array, check_arrays, narrow, restored, scaled
from contract import Leaf, Node, leaves
from trees import Tree, check_nodes, dimension_tree, node_ranks, post_order

from .svd import svd


def _basis(y: NDArray, rank: int, limit: float | None) -> NDArray:
    """Return the first r left singular vectors (m, r) of y; r counts the tails longer than `limit`, cut at `rank`."""
    u, s, _ = svd(y, min(rank, *y.shape) if limit is None else min(y.shape))
    if limit is None:
        return u
    tails = np.sqrt(np.cumsum(s[::-1] ** 2))[::-1]  # tails[r] = |s_r, s_r+1, ...|, summed from the smallest up
    return u[:, : min(rank, max(1, int((tails > limit).sum())))]


def ht(
    x: NDArray, rank: int | tuple[int, ...] | None = None, tree: Tree | None = None, tol: float | None = None
) -> Leaf[NDArray] | Node[NDArray]:
    """x (n_0, ..., n_{d-1}) ~ nested bases over a binary tree of its modes, truncated from the leaves to the root.

    The core starts as x.  Each node, children first, replaces its children's axes by one axis of its own, so that the
    core is at all times the coordinates of the projected tensor (Grasedyck 2010, section 3; Vannieuwenhoven et al.
    2012 for successive projections).  The error bound is that of stage 1.

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
    tree, ranks = dimension_tree(tree, x.ndim), node_ranks(rank, tol, x.ndim)
    limits: list[float | None] = [None] * len(ranks)
    if tol is not None and ranks:
        limits[:-1] = [tol / sqrt(2 * x.ndim - 3) * float(np.linalg.norm(y))] * (2 * x.ndim - 3)
    core, axes = y, [*range(x.ndim)]  # axes[i] is the node that axis i of the core belongs to
    codes: dict[Tree, Any] = {}
    for number, t in enumerate(post_order(tree)):
        children = [t] if isinstance(t, int) else [*t]
        k, core = len(children), np.moveaxis(core, [axes.index(child) for child in children], range(len(children)))
        if t == tree:
            b = restored(core[..., None], exponent)
        else:
            u = _basis(core.reshape(prod(core.shape[:k]), -1), ranks[number], limits[number])
            b = u.reshape(*core.shape[:k], -1)
        core = np.tensordot(b, core, (range(k), range(k)))
        axes = [t, *(axis for axis in axes if axis not in children)]
        codes[t] = Leaf(b) if k == 1 else Node(b, codes[children[0]], codes[children[1]])
    return narrow(codes[tree], x.dtype)


def unht(code: Leaf[NDArray] | Node[NDArray], tree: Tree | None = None) -> NDArray:
    """x_hat = sum over all bonds of the product of all b and u, in the order that einsum finds cheapest.

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
    nodes = post_order(tree)
    bond = {t: len(nodes) + number for number, t in enumerate(nodes)}  # einsum's label of the edge above each node

    def operands(t: Tree, node: Any) -> list[Any]:
        if isinstance(t, int):
            return [node.u, [t, bond[t]]]
        edges = [bond[t[0]], bond[t[1]], bond[t]]
        return [node.b, edges, *operands(t[0], node.left), *operands(t[1], node.right)]

    x = np.einsum(*operands(tree, code), [*range((len(nodes) + 1) // 2), bond[tree]], optimize=True)[..., 0]
    return narrow(x, dtype)
