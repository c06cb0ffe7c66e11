"""Tensors that wait on disk, in a temporary file without a name: it is gone when the process is, however that ends."""

import errno
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
Put = Callable[[Tensor], Callable[[], Tensor]]  # of a tensor: what reads it back, bit for bit and to its device


@contextmanager
def spool() -> Iterator[Put]:
    """Puts tensors into the folder for temporary files (TMPDIR) until it is left; ValueError where the disk is full."""
    try:
        with tempfile.TemporaryFile() as file:
            yield lambda tensor: _put(file, tensor)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise ValueError(f"TMPDIR must be a folder with room, got {tempfile.gettempdir()!r} ({error})") from error


def _put(file: Any, tensor: Tensor) -> Callable[[], Tensor]:
    shape, dtype, device = tensor.shape, tensor.dtype, tensor.device
    start = file.seek(0, 2)
    file.write(_bytes(tensor.detach().cpu().contiguous()))

    def get() -> Tensor:
        read = torch.empty(shape, dtype=dtype)
        file.seek(start)
        file.readinto(_bytes(read))
        return read.to(device)

    return get


def _bytes(tensor: Tensor) -> Any:
    """Its memory, as files read and write it."""
    return tensor.view(-1).view(torch.uint8).numpy()
