"""Fewer bits for a weight: one while training goes on (BinaryConnect), or sixteen afterwards."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from checks import require

from ..coded import Decoded, check_plain_weights, code
from ..network import check_untied, weighted


class Binary(Decoded):
    """alpha_i sign(V_i) for filter i, alpha_i = mean |V_i|, sign(0) = 1; the gradient goes to V as it is.

    BinaryConnect (Courbariaux et al. 2015: V is clipped to [-1, 1]) with the scale of binary
    weight networks (Rastegari et al. 2016), without which a network without BatchNorm drowns.
    """

    def right_inverse(self, weight: Tensor) -> Tensor:
        """V = W."""
        return weight

    def decode(self, *arrays: Tensor) -> Tensor:
        """W, of V."""
        (weight,) = arrays
        if self.training:
            with torch.no_grad():
                weight.clamp_(-1, 1)  # here, before its next use, where no optimizer has to be told of it
        scale = weight.detach().flatten(1).abs().mean(1).reshape(-1, *[1] * (weight.ndim - 1))
        binary = torch.where(weight.detach() < 0, -scale, scale)
        return binary + (weight - weight.detach())  # + 0, exactly


def binarise(model: nn.Module, kinds: type[nn.Module] | tuple[type[nn.Module], ...] = nn.Module) -> nn.Module:
    """Give every Conv2d and Linear of these kinds binary weights to train with, in place; `layers.fold` keeps them.

    ValueError for a network without such layers, or with tied ones.
    """
    layers = weighted(model, kinds)
    require(bool(layers), "model", type(model).__name__, "one with convolutions or Linear layers to binarise")
    check_untied(model, layers, "binarise")
    check_plain_weights(layers, "binarise")
    for layer in layers.values():
        code(layer, Binary())
    return model


class InFloat32(TorchFunctionMode):
    """Computes convolutions and linear layers of float16 tensors in float32, and rounds what they give to float16.

    A CPU without float16 arithmetic takes thirty times as long for a convolution in float16 as for this.
    """

    SLOW = frozenset(
        (F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d, F.linear)
    )

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        given = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
        if func not in self.SLOW or any(one.dtype != torch.float16 for one in given):  # mixed: torch refuses it
            return func(*args, **kwargs)
        args, kwargs = tree_map_only(Tensor, Tensor.float, (args, kwargs))
        return func(*args, **kwargs).half()


class Half(nn.Module):
    """A network that computes in float16, or in bfloat16, and is called, and answers, in float32.

    On a CPU without float16 arithmetic sums are of float32 numbers, as `InFloat32` says; what is exported is float16.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype = torch.float16) -> None:
        super().__init__()
        self.model, self.dtype = model.to(dtype), dtype

    def forward(self, x: Tensor) -> Tensor:
        """y, of x (n, ...)."""
        with InFloat32() if self._emulated(x) else nullcontext():
            y: Tensor = self.model(x.to(self.dtype)).float()
        return y

    def _emulated(self, x: Tensor) -> bool:
        traced = torch.compiler.is_compiling() or torch.jit.is_tracing()
        fast = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_fp16_supported()
        return self.dtype == torch.float16 and x.device.type == "cpu" and not fast and not traced
