"""Which dimension trees are a row of convolutions, and the row that a hierarchical Tucker code stands for.

Modes: 0 outputs, 1 inputs, 2 height, 3 width.  An edge of the tree splits the modes in two and carries the channels
between the two sides.  1 x 1, k x 1, 1 x k, 1 x 1 have the edges inputs | rest, inputs and height | width and outputs,
rest | outputs; a tree gives them exactly if it does not split inputs and outputs from height and width.  Where its root
is does not matter: the transfer tensor there is a matrix, or waits for a spatial basis, and is absorbed either way.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from checks import require
from contract import Leaf, Node
from trees import Tree, dimension_tree, post_order

OUT, IN, HEIGHT, WIDTH = range(4)
TREES = "a tree with inputs (1) and height (2) on one side, width (3) and outputs (0) on the other, such as "
TREES += "[[1, 2], [3, 0]] or [1, [2, [3, 0]]], or one with height and width exchanged"


def modes(tree: Tree) -> set[int]:
    """Return the modes in a subtree."""
    return {t for t in post_order(tree) if isinstance(t, int)}


def first_axis(tree: Any) -> int:
    """Return the spatial axis that is joined to the inputs; ValueError for a tree that gives no row of convolutions."""
    nested = dimension_tree(tree, 4)
    for t in post_order(nested):
        pair = modes(t)
        if len(pair) == 2:
            beside = pair if IN in pair else set(range(4)) - pair
            require(OUT not in beside, "tree", tree, TREES)
            return (beside - {IN}).pop()
    raise AssertionError("a binary tree of four modes has a pair")


def is_row(tree: Any) -> bool:
    """Tell whether the tree gives a row of convolutions."""
    try:
        return first_axis(tree) in (HEIGHT, WIDTH)
    except ValueError:
        return False


class Part(NamedTuple):
    """A subtree as pieces of the row: what begins with the inputs, a tensor left over, what ends with the outputs.

    Weights are (g, channels out, channels in, taps).  Left over is the basis of a spatial leaf (g, taps, r), or the
    transfer tensor (g, channels in, channels out, r) that joins the two ends.
    """

    front: list[Tensor]
    left: Tensor | None
    back: list[Tensor]


def row(code: Leaf[Tensor] | Node[Tensor], tree: Tree) -> list[Tensor]:
    """Return the four weights (g, channels out, channels in, taps) whose product is the decoded tensor."""
    front, left, back = _part(code, tree)
    if left is None:
        return [*front, *back]
    joint = left[..., 0]  # (g, l, m), absorbed into a spatial neighbour
    if len(front) > 1:
        return [*front[:-1], torch.einsum("glm,glik->gmik", joint, front[-1]), *back]
    return [*front, torch.einsum("glm,gomk->golk", joint, back[0]), *back[1:]]


def _part(node: Any, tree: Tree) -> Part:
    if isinstance(tree, int):
        front, back = [node.u.mT[..., None]], [node.u[..., None]]
        return Part(front, None, []) if tree == IN else Part([], None, back) if tree == OUT else Part([], node.u, [])
    x, y, b = _part(node.left, tree[0]), _part(node.right, tree[1]), node.b
    if y.front or (x.back and not x.front):  # the one nearer to the inputs first
        x, y, b = y, x, b.transpose(-3, -2)
    if x.front and x.back:  # both ends there, and the basis of the axis between them: this is the root
        return Part([*x.front, torch.einsum("glmq,gqs,gks->gmlk", x.left, b[..., 0], y.left)], None, x.back)
    if x.front and y.back:
        return Part(x.front, b, y.back)
    if x.front:
        return Part([*x.front, torch.einsum("glsr,gks->grlk", b, y.left)], None, [])
    return Part([], None, [torch.einsum("gsmr,gks->gmrk", b, x.left), *y.back])
