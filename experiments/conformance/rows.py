"""The fixed rows of the conformance table: everything that a Conv2d can be asked, one option at a time."""

from typing import Any

import torch
from torch import nn

ROWS: dict[str, dict[str, Any]] = {
    "plain": {},
    "no bias": {"bias": False},
    "stride 2": {"stride": 2},
    "stride (2, 1)": {"stride": (2, 1)},
    "rectangular": {"kernel_size": (3, 5), "padding": (1, 2)},
    "even kernel": {"kernel_size": (4, 2)},
    "dilation": {"dilation": (2, 1), "padding": 2},
    "same": {"padding": "same", "kernel_size": (4, 3)},
    "valid": {"padding": "valid"},
    "reflect": {"padding": (2, 1), "padding_mode": "reflect"},
    "replicate": {"padding": (2, 1), "padding_mode": "replicate"},
    "circular": {"padding": (1, 2), "padding_mode": "circular"},
    "circular same": {"padding": "same", "padding_mode": "circular"},
    "groups": {"groups": 2},
    "depthwise": {"out_channels": 4, "groups": 4},
    "depthwise multiplier": {"out_channels": 8, "groups": 4},
    "1 x 1": {"kernel_size": 1},
    "1 x 3": {"kernel_size": (1, 3)},
}
EXACT = {torch.float64: 1e-10, torch.float32: 1e-4}  # relative to the largest output; float32: hundreds of terms


def dense(row: str, dtype: torch.dtype) -> tuple[nn.Conv2d, torch.Tensor]:
    """Make the convolution of a row, 4 channels to 6 unless the row says otherwise, and a batch for it; seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        options: dict[str, Any] = {"in_channels": 4, "out_channels": 6, "kernel_size": 3, "dtype": dtype} | ROWS[row]
        return nn.Conv2d(**options), torch.randn(2, 4, 11, 12, dtype=dtype)
