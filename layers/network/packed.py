"""A network's file: safetensors of packed tensors, in one tensor of bytes where brotli compressed it."""

import json
import os

import brotli
import safetensors.torch
import torch
from torch import nn

from ..loader import BROTLI, PACKED
from .files import tensors_of, whole
from .packing import compressed_size_of, pack, size_of

SMALLEST = 1024  # bytes of a tensor that is not left as it is, for any reader of safetensors
LARGE = 2**22  # bytes from which brotli's best takes too long: 2 s a MB, against 0.04 s for 1 to 5 % more bytes
BEST, FAST, WINDOW = 11, 9, 24  # qualities of brotli; the logarithm of how far back it looks


def network_bytes(model: nn.Module, compressed: bool = False) -> bytes:
    """Make the file of a network's state in which `layers.load` and loader.py find every number, bit for bit.

    Args:
        model: any network.
        compressed: by brotli; packing then makes what compresses best.

    Returns:
        A safetensors file.

    Raises:
        ValueError: for what a file cannot hold, such as tensors without numbers on the meta device.

    Example:
        >>> layer = nn.Linear(256, 64)
        >>> layer.weight.data.sign_()[0, 0].abs().item()
        1.0
        >>> len(network_bytes(layer)) < 3000  # of 65,792 as float32
        True
    """
    tensors, facts = tensors_of(model)
    forms, parts = {}, {}
    for name, tensor in tensors.items():
        if not compressed and tensor.nbytes < SMALLEST:
            parts[name] = tensor
            continue
        packed = pack(tensor, compressed_size_of if compressed else size_of)
        parts |= {f"{name}{end}": part for end, part in packed.tensors.items()}
        if packed.form is not None:
            forms[name] = packed.form
    if forms:
        facts[PACKED] = json.dumps(forms, separators=(",", ":"))
    data: bytes = safetensors.torch.save(parts, facts or None)
    if not compressed:
        return data
    stream = bytearray(compress_bytes(data))
    return safetensors.torch.save({"": torch.frombuffer(stream, dtype=torch.uint8)}, {BROTLI: str(len(data))})


def compress_bytes(data: bytes) -> bytes:
    """Compress by brotli, at its best setting where that takes seconds at most."""
    quality = BEST if len(data) < LARGE else FAST
    small: bytes = brotli.compress(data, quality=quality, lgwin=WINDOW)
    return small


def write_network(model: nn.Module, path: str | os.PathLike[str], compressed: bool = False) -> None:
    """Write that file, whole; ValueError as `network_bytes`."""
    data = network_bytes(model, compressed)
    with whole(path) as temporary:
        temporary.write_bytes(data)
