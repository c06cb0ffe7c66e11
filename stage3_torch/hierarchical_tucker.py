"""Hierarchical Tucker in torch: every cut is one Gram matrix, its eigenvectors and one matrix product."""

from math import prod, sqrt
from typing import Any

import torch
from torch import Tensor

from checks import require
from contract import Leaf, Node, leaves
from trees import Tree, check_nodes, dimension_tree, node_ranks, post_order

from .checks import check_tensor, check_tensors, narrow, wide
from .svd import left_basis, svd
from .tensor import guarded


def _basis(y: Tensor, rank: int, limit: Tensor | None) -> Tensor:
    """Return the first r left singular vectors of y (..., m, n), one r for the whole batch, the largest needed.

    With a `limit` for the norm of the tail the rank depends on the numbers and so must be read from the device.
    """
    if limit is None:
        return left_basis(y, rank)
    u, s, _ = svd(y, min(y.shape[-2:]))
    tails = s.double().square().flip(-1).cumsum(-1).sqrt()
    return u[..., : min(rank, max(1, int((tails > limit[..., None]).sum(-1).max())))]


def ht(
    x: Tensor,
    rank: int | tuple[int, ...] | None = None,
    tree: Tree | None = None,
    tol: float | None = None,
    batch: int = 0,
) -> Leaf[Tensor] | Node[Tensor]:
    """x (n_0, ..., n_{d-1}) ~ nested bases over a binary tree of its modes, truncated from the leaves to the root.

    The error bound of Grasedyck 2010 as in stage 1.  The first `batch` axes of x are the first axes of every array of
    the code; modes are counted after them.  `tol` reads the ranks it finds, one for the whole batch, from the device;
    `rank` alone never waits for it.  x_hat is differentiable once where, at every node, the kept singular values differ
    from the cut ones.

    Args:
        x: floats, with at least one axis that is none of the batch.
        rank: the largest rank of every node, or one for each; None where `tol` decides.
        tree: nested pairs of mode numbers; None for the balanced tree.
        tol: the relative error allowed, in [0, 1); None where `rank` decides.
        batch: how many of the first axes of x count independent arrays.

    Returns:
        The root, a Node of Nodes and Leaves (a Leaf for one axis).

    Raises:
        ValueError: x, rank, tree, tol or batch cannot be used, or both rank and tol are None.

    Example:
        >>> code = ht(torch.ones((4, 3, 2)), rank=1)
        >>> tuple(code.b.shape), tuple(code.left.left.u.shape)
        ((1, 1, 1), (4, 1))
    """
    check_tensor(x)
    require(0 <= batch < x.ndim, "batch", batch, f"in 0 to {x.ndim - 1} for {x.ndim} axes")
    ndim = x.ndim - batch
    tree, ranks = dimension_tree(tree, ndim), node_ranks(rank, tol, ndim)
    require(tol is None or x.device.type != "meta", "tol", tol, "None on the meta device, where no rank can be read")
    core, scale = guarded(wide(x), batch)
    axes = [*range(ndim)]  # axes[i]: the node to which axis batch + i of the core belongs
    limits: list[Tensor | None] = [None] * len(ranks)
    if tol is not None and ranks:
        norms = torch.linalg.vector_norm(core.detach().double(), dim=[*range(batch, x.ndim)])
        limits[:-1] = [tol / sqrt(2 * ndim - 3) * norms] * (2 * ndim - 3)
    codes: dict[Tree, Any] = {}
    for number, t in enumerate(post_order(tree)):
        children = [t] if isinstance(t, int) else [*t]
        sites = [axes.index(child) for child in children]
        rest = [i for i in range(len(axes)) if i not in sites]
        core = core.permute(*range(batch), *(batch + i for i in sites + rest))
        lead, here, there = core.shape[:batch], core.shape[batch : batch + len(sites)], core.shape[batch + len(sites) :]
        y = core.reshape(*lead, prod(here), prod(there))
        u = y if t == tree else _basis(y, ranks[number], limits[number])
        core, axes = (u.mT @ y).reshape(*lead, u.shape[-1], *there), [t, *(axes[i] for i in rest)]
        b = u.reshape(*lead, *here, u.shape[-1])
        b = narrow(b * scale.reshape(*lead, *[1] * (len(here) + 1)), x.dtype) if t == tree else b.to(x.dtype)
        codes[t] = Leaf(b) if len(children) == 1 else Node(b, codes[children[0]], codes[children[1]])
    return codes[tree]


def unht(code: Leaf[Tensor] | Node[Tensor], tree: Tree | None = None) -> Tensor:
    """x_hat (..., n_0, ..., n_{d-1}) is the product of the bases from the leaves to the root, batch axes first.

    Args:
        code: what `ht` returned.
        tree: the tree given to `ht`; None for the balanced one.

    Returns:
        The approximation, in the shape of x.

    Raises:
        ValueError: the code has not the shape of the tree.

    Example:
        >>> unht(ht(torch.ones(2, 2), rank=1)).shape
        torch.Size([2, 2])
    """
    dtype = leaves(code)[0].dtype
    tree = dimension_tree(tree, (len(leaves(code)) + 1) // 2)
    check_nodes(code, tree)
    code = check_tensors(code)

    def basis(node: Any) -> tuple[Tensor, list[int]]:
        """Return the basis (..., product of sizes, r) of a node and the sizes of its modes."""
        if isinstance(node, Leaf):
            return node.u, [node.u.shape[-2]]
        (left, left_sizes), (right, right_sizes) = basis(node.left), basis(node.right)
        half = torch.einsum("...ai,...ijr->...ajr", left, node.b)
        return torch.einsum("...ajr,...bj->...abr", half, right).flatten(-3, -2), left_sizes + right_sizes

    full, sizes = basis(code)
    modes = [t for t in post_order(tree) if isinstance(t, int)]
    lead = full.ndim - 2
    x = full[..., 0].reshape(*full.shape[:-2], *sizes)
    return narrow(x.permute(*range(lead), *(lead + modes.index(mode) for mode in range(len(modes)))), dtype)
