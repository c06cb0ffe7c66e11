"""The contract's checks for tensors, and the precision in which they are computed."""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from checks import COMPLEX as COMPLEX, FLOATS as FLOATS, check_code, check_input, dtype_name, require
from contract import leaves, refill

HALVES = (torch.float16, torch.bfloat16)


def readable(x: Tensor) -> bool:
    """Whether a number of x can be read for nothing: not on a device, not in a compiled graph."""
    return x.device.type == "cpu" and not torch.compiler.is_compiling()


def check_tensor(x: Any, ndim: int | None = None, dtypes: Sequence[str] = FLOATS, values: bool = True) -> None:
    """Refuse what `checks.check_input` refuses, reading the numbers only where that is free, and what is not dense."""
    require(isinstance(x, Tensor), "x", type(x).__name__, "a tensor")
    require(x.layout == torch.strided and not x.is_nested, "x.layout", x.layout, "torch.strided, and x not nested")
    check_input(x, ndim, dtypes, values=False)
    # A finite norm has finite terms, no square of which overflows, and is read in one pass; only one that is not finite
    # needs the slower look.
    if values and readable(x):
        norm = torch.linalg.vector_norm(x.detach(), dtype=torch.float32 if x.dtype in HALVES else None)
        if not isfinite(norm.item()):
            check_input(x.detach(), ndim, dtypes)


def check_tensors(code: Any) -> Any:
    """Return a code with its tensors as they are computed, `wide`; refuse what `checks.check_code` refuses."""
    check_code(code)
    arrays = [wide(array) for array in leaves(code)]
    names = sorted({str(array.dtype) for array in arrays})
    require(len(names) == 1, "code.dtype", ", ".join(names), "the same in all tensors")
    return refill(code, iter(arrays))


def wide(x: Tensor) -> Tensor:
    """Return bf16 and f16 as float32, in which their sums are computed; every other dtype as it is."""
    return x.float() if x.dtype in HALVES else x


def check_overflow(result: Tensor, before: Tensor) -> None:
    """Refuse a result in which a number is infinite that was finite before, where that can be read for nothing."""
    if readable(result) and not bool((result.isfinite() | ~before.isfinite()).all()):
        value = f"one that gives {float(before.detach().abs().max()):.3g}"
        require(False, "x", value, f"of results that {dtype_name(result)} can hold")


def narrow(x: Tensor, dtype: torch.dtype) -> Tensor:
    """Return x in `dtype`; ValueError where a number overflows there, as float16 does above 65504."""
    y = x.to(dtype)
    if dtype == torch.float16:
        check_overflow(y, x)
    return y
