"""BatchNorm folded into the layer before it, for inference."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval
from torch.utils._pytree import tree_leaves

from ..network import answer, copy_of, observing, obstacles, replace
from .followers import Followers


def fold_batchnorm(model: nn.Module, x: Tensor) -> nn.Module:
    """Copy the network with each BatchNorm in eval mode multiplied into the layer before it: w gamma / sqrt(var + eps).

    A BatchNorm that alone reads what a convolution or Linear layer puts out is folded, of a layer in factors into the
    last, and an Identity stands in its place; others, as those before a convolution, stay.  Runtimes for .onnx files
    do the same, torch only in torch.compile.  The copy is for inference: trained on, it is another network.

    Args:
        model: any network whose answer can be differentiated; it is not changed.
        x: one input batch (n, ...), which shows what follows what.

    Returns:
        The copy, which answers the same but for rounding.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
        >>> fold_batchnorm(net, torch.zeros(1, 3, 8, 8))[1]
        Identity()
    """
    pairs, barred = _pairs(model, x), obstacles(model)
    pairs = {layer: norm for layer, norm in pairs.items() if layer not in barred and norm not in barred}
    norms = {*pairs.values()}

    def rule(name: str, module: Any) -> nn.Module | None:
        if name in norms:
            return nn.Identity()
        if name not in pairs:
            return None
        fuse: Callable[..., nn.Module] = fuse_linear_bn_eval if isinstance(module, nn.Linear) else fuse_conv_bn_eval
        return fuse(copy_of(module).eval(), _affine(model.get_submodule(pairs[name])))

    return replace(copy_of(model), rule)


def _affine(norm: Any) -> nn.Module:
    """Return a copy in eval mode that has a scale and a shift, which torch's fusion of Linear layers reads."""
    norm = copy_of(norm).eval()
    if norm.weight is None:
        norm.weight, norm.bias = nn.Parameter(torch.ones_like(norm.running_var)), nn.Parameter(0 * norm.running_mean)
    return norm


def _pairs(model: nn.Module, x: Tensor) -> dict[str, str]:
    """Name of each layer whose output goes to one BatchNorm and nowhere else -> name of that."""
    with ExitStack() as stack:
        stack.enter_context(observing(model, gradients=True))
        calls = Followers(model, stack)
        answered = [leaf for leaf in tree_leaves(answer(model, x, gradients=True)) if isinstance(leaf, Tensor)]
    traced = [leaf for leaf in answered if leaf.grad_fn is not None]
    return calls.found(torch.stack([leaf.sum() for leaf in traced]).sum()) if traced else {}
