"""A network as torch serves it: BatchNorm folded or not, in float32 or bfloat16, compiled or not."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only

from ..coded import fold
from ..network import copy_of

LAYOUTS = {False: torch.contiguous_format, True: torch.channels_last}
# weights are constants: inductor folds BatchNorm, packs weights and fuses what follows them
FROZEN: dict[str, Any] = {"freezing": True}
VARIANTS = 1024  # compiled networks of one class at once, which torch takes for a mistake from the ninth on


class Served(nn.Module):
    """Answer in float32 whatever the precision.

    Args:
        model: a network in eval mode, which becomes part of this one.
        bf16: weights and activations in bfloat16, which takes half the memory traffic and fewer products.
        channels_last: the layout of weights and images.
        compiled: by torch.compile with frozen weights.
    """

    def __init__(self, model: nn.Module, bf16: bool, channels_last: bool, compiled: bool) -> None:
        super().__init__()
        self.dtype = torch.bfloat16 if bf16 else None
        self.layout = LAYOUTS[channels_last]
        model = model.to(dtype=self.dtype) if bf16 else model
        for parameter in model.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=self.layout)
        self.run = [torch.compile(model, options=FROZEN) if compiled else model]  # no child: a program has no modes

    def placed(self, x: Tensor) -> Tensor:
        """Return x as the network takes it."""
        x = x if self.dtype is None or not x.is_floating_point() else x.to(self.dtype)
        return x.contiguous(memory_format=self.layout) if x.ndim == 4 else x

    def forward(self, x: Tensor) -> Any:
        """Return what the network answers."""
        return tree_map_only(Tensor, _in_float32, self.run[0](self.placed(x)))


def _in_float32(y: Tensor) -> Tensor:
    return y.float() if y.dtype == torch.bfloat16 else y


def served(model: nn.Module, bf16: bool = False, channels_last: bool = False, compiled: bool = False) -> Served:
    """Return a copy of the network, coded layers folded to plain ones, as torch serves it."""
    return Served(fold(copy_of(model).eval()), bf16, channels_last, compiled).eval()
