"""Constant matrices as tensors, and the one way in which every transform goes along an axis."""

from collections.abc import Callable
from functools import lru_cache
from operator import index
from typing import Any

import torch
from torch import Tensor
from torch.amp import is_autocast_available
from torch.utils._python_dispatch import _disable_current_modes

from contract import leaves, refill

from .checks import HALVES, narrow, wide

COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}


@lru_cache(maxsize=64)  # at most 32 MiB each, 2048 x 2048 in float64, and mostly far less
def _made(make: Callable[..., Any], arguments: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # What is kept must serve every later call: a table first asked for under inference_mode would refuse to train, and
    # one first asked for while torch.export traces would be a fake without numbers.  (There is no public name for it.)
    with torch.inference_mode(False), _disable_current_modes():
        return torch.as_tensor(make(*arguments)).to(device, dtype).contiguous()


def _constant(make: Callable[..., Any], arguments: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    # The compiler would trace through lru_cache and into NumPy; told that this is a constant it runs it once instead.
    return _made(make, arguments, dtype, device)


# All that torch.compiler.assume_constant_result does, which loads the compiler first: half the time of `import layers`.
_constant._dynamo_marked_constant = True  # type: ignore[attr-defined]


def table(make: Callable[..., Any], *arguments: Any, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """make(*arguments), computed once in float64 and kept in the dtype of `like`, or `dtype`, on the device of `like`.

    It is shared: never write to it.
    """
    return _constant(make, arguments, dtype or like.dtype, like.device)


def length(x: Tensor, axis: int = -1) -> int:
    """x.shape[axis] as a number, also in a compiled graph, which is therefore for one length, as its tables are."""
    return index(x.shape[axis])


def along(function: Callable[[Any], Any], code: Any, axis: int) -> Any:
    """Apply `function`, which works along the last axis of a tensor or a tuple of them, along `axis` and in its dtype.

    float16 and bfloat16 are computed in float32.  Autocast is off inside: it would round float32 input to half
    precision, and the inverse would no longer invert.
    """
    device = leaves(code)[0].device.type
    if is_autocast_available(device) and torch.is_autocast_enabled(device):  # the meta device has none
        with torch.autocast(device, enabled=False):
            return _along(function, code, axis)
    return _along(function, code, axis)


def _along(function: Callable[[Any], Any], code: Any, axis: int) -> Any:
    dtype = leaves(code)[0].dtype
    lines = [wide(x).movedim(axis, -1) for x in leaves(code)]
    result = function(refill(code, iter(lines)))
    arrays = [y.movedim(-1, axis) for y in leaves(result)]
    return refill(result, iter([narrow(y, dtype) if dtype in HALVES and not y.is_complex() else y for y in arrays]))
