"""Dimension trees: what all stages must agree on about the arguments of hierarchical Tucker.

A tree is a mode number, or a pair of trees: ((0, 1), (2, 3)), (0, (2, (3, 1))).  Lists will do, so it may come from
JSON.  Its nodes are counted in post order, children first, the root last; the root's rank is 1 and never given.
"""

import sys
from typing import Any, TypeAlias

from checks import check_rank, require
from contract import Leaf, Node

Tree: TypeAlias = int | tuple["Tree", "Tree"]


def post_order(tree: Tree) -> list[Tree]:
    """Every node, children first: ((0, 1), 2) gives 0, 1, (0, 1), 2, ((0, 1), 2)."""
    return [tree] if isinstance(tree, int) else [*post_order(tree[0]), *post_order(tree[1]), tree]


def dimension_tree(tree: Any, ndim: int) -> Tree:
    """The tree as nested pairs, balanced where None; refuse one that does not name every mode exactly once."""

    def pairs(t: Any) -> Tree:
        if isinstance(t, int):
            return t
        require(isinstance(t, tuple | list) and len(t) == 2, "tree", tree, "nested pairs of mode numbers")
        return pairs(t[0]), pairs(t[1])

    def balanced(first: int, last: int) -> Tree:
        half = (first + last + 1) // 2
        return first if last - first == 1 else (balanced(first, half), balanced(half, last))

    nested = balanced(0, ndim) if tree is None else pairs(tree)
    modes = sorted(t for t in post_order(nested) if isinstance(t, int))
    require(modes == list(range(ndim)), "tree", tree, f"a binary tree of the modes 0 to {ndim - 1}, each exactly once")
    return nested


def node_ranks(rank: Any, tol: float | None, ndim: int) -> list[int]:
    """The largest rank of every node but the root, in post order; an int caps all of them, None none."""
    require(tol is None or 0 <= tol < 1, "tol", tol, "None or in [0, 1)")
    require(rank is not None or tol is not None, "rank", rank, "given where tol is not")
    count = 2 * ndim - 2
    if isinstance(rank, tuple | list):
        require(
            len(rank) == count, "rank", rank, f"an integer, or {count} integers: one per node in post order, no root"
        )
    ranks = list(rank) if isinstance(rank, tuple | list) else [sys.maxsize if rank is None else rank] * max(count, 1)
    for one in ranks:
        check_rank(one)
    return ranks[:count]


def check_nodes(code: Any, tree: Tree) -> int:
    """The rank of a hierarchical Tucker code; refuse one that has not the shape of the tree."""
    require(isinstance(code, Leaf if isinstance(tree, int) else Node), "tree", tree, "the tree of the code")
    if isinstance(tree, int):
        return code.u.shape[-1]
    ranks = check_nodes(code.left, tree[0]), check_nodes(code.right, tree[1])
    require(tuple(code.b.shape[-3:-1]) == ranks, "code", tuple(code.b.shape), f"of b ({ranks[0]}, {ranks[1]}, r)")
    return code.b.shape[-1]
