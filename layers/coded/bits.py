"""Which elements of a tensor are kept, one bit for each."""

import torch
import torch.nn.functional as F
from torch import Tensor


def pack(mask: Tensor) -> Tensor:
    """A flat boolean mask as bytes, first element in the lowest bit; 1/32 of the float32 weight it belongs to."""
    bits = F.pad(mask.to(torch.uint8), (0, -mask.numel() % 8)).reshape(-1, 8)
    return (bits << torch.arange(8, device=mask.device, dtype=torch.uint8)).sum(1, dtype=torch.uint8)


def unpack(packed: Tensor, n: int) -> Tensor:
    """The n flat booleans that `pack` packed."""
    bits = packed[:, None] >> torch.arange(8, device=packed.device, dtype=torch.uint8) & 1
    return bits.reshape(-1)[:n].bool()
