"""Give memory that is free back to the system."""

import ctypes
from collections.abc import Callable
from functools import cache


def trim() -> None:
    """Give back what the allocator of the C library keeps of freed tensors, where it is glibc; elsewhere do nothing.

    It keeps, of each thread that had any, blocks of up to 32 MiB for later ones: gigabytes where many images of 224
    pixels wait inside a network.
    """
    if (trimmed := _malloc_trim()) is not None:
        trimmed(0)


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library, or Windows, which has no CDLL(None)
        return None
