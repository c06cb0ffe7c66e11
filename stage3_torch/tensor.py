"""What the stage's kernels share about tensors."""

import torch
from torch import Tensor


def wide(x: Tensor) -> Tensor:
    """bf16 and f16 as float32, in which their sums are computed; float32 and float64 as they are."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()
