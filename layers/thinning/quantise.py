"""Fewer bits for a weight: one while training goes on (BinaryConnect), or sixteen afterwards."""

import torch
from torch import Tensor, nn

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


class Half(nn.Module):
    """A network that computes in float16, or in bfloat16, and is called, and answers, in float32."""

    def __init__(self, model: nn.Module, dtype: torch.dtype = torch.float16) -> None:
        super().__init__()
        self.model, self.dtype = model.to(dtype), dtype

    def forward(self, x: Tensor) -> Tensor:
        """y, of x (n, ...)."""
        y: Tensor = self.model(x.to(self.dtype)).float()
        return y
