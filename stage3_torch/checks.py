"""The contract's checks for tensors."""

from math import isfinite

import torch
from torch import Tensor

from checks import check_input, require


def readable(x: Tensor) -> bool:
    """Whether a number of x can be read for nothing: not on a device, not in a compiled graph."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def check_tensor(x: Tensor, ndim: int | None = None, dtype: str = "float", values: bool = True) -> None:
    """`check_input`, reading the numbers only where that is free."""
    require(isinstance(x, Tensor), "x", type(x).__name__, "a tensor")
    values = values and readable(x)
    check_input(x, ndim, dtype, values=False)
    # A finite sum has finite terms, and is read in one pass; only a sum that overflows needs the slower look.
    if values and not isfinite(abs(x.detach().sum().item())):
        check_input(x.detach(), ndim, dtype)
