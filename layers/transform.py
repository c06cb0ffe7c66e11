"""Transform layers: the weight is the inverse transform of the few coefficients that are kept and trained."""

from collections.abc import Sequence

import torch
from torch import Tensor

import stage3_torch
from checks import need
from contract import KERNELS

from .coded import Decoded


def pack(mask: Tensor) -> Tensor:
    """A flat boolean mask as bytes, first element in the lowest bit; 1/32 of the float32 weight it belongs to."""
    bits = torch.nn.functional.pad(mask.to(torch.uint8), (0, -mask.numel() % 8)).reshape(-1, 8)
    return (bits << torch.arange(8, device=mask.device, dtype=torch.uint8)).sum(1, dtype=torch.uint8)


def unpack(packed: Tensor, n: int) -> Tensor:
    """The n flat booleans that `pack` packed."""
    bits = packed[:, None] >> torch.arange(8, device=packed.device, dtype=torch.uint8) & 1
    return bits.reshape(-1)[:n].bool()


class Transform(Decoded):
    """weight = inverse transform along `axes` of `keep` coefficients, the others being zero.

    Kept are the largest magnitudes of the weight's own transform: by orthonormality (Parseval) that is the choice with
    the least squared error.  Saved are the coefficients and one bit per weight for their positions.
    """

    mask: Tensor  # (ceil(n / 8),) uint8, saved
    index: Tensor  # (keep,) flat positions, derived from the mask

    def __init__(self, name: str, keep: int, axes: Sequence[int], **spec: int | str) -> None:
        super().__init__()
        transforms = [name for name, kernel in KERNELS.items() if kernel.linear]
        need(name in transforms, "kernel", name, f"one of {', '.join(transforms)}")
        self.kernel, self.keep, self.axes, self.spec = KERNELS[name], keep, tuple(axes), spec
        self.register_buffer("mask", None)
        self.register_buffer("index", None, persistent=False)
        self.register_load_state_dict_post_hook(lambda module, _: module._derive())

    def _derive(self) -> None:
        self.index = unpack(self.mask, self.shape.numel()).nonzero()[:, 0]
        self._cache = None

    def right_inverse(self, weight: Tensor) -> tuple[Tensor]:
        """The `keep` largest coefficients; sets their positions."""
        need(1 <= self.keep <= weight.numel(), "keep", self.keep, f"1 to {weight.numel()}")
        self.shape = weight.shape
        y = weight
        for axis in self.axes:
            y = getattr(stage3_torch, self.kernel.encode)(y, axis=axis, **self.spec)
        y = y.flatten()
        self.index = y.abs().topk(self.keep).indices.sort().values
        self.mask = pack(torch.zeros_like(y, dtype=torch.bool).scatter(0, self.index, True))
        return (y.gather(0, self.index),)

    def decode(self, *arrays: Tensor) -> Tensor:
        """Scatter the coefficients, invert the transform axis by axis."""
        (values,) = arrays
        y = values.new_zeros(self.shape.numel()).scatter(0, self.index, values).reshape(self.shape)
        for axis in reversed(self.axes):
            y = getattr(stage3_torch, self.kernel.decode)(y, axis=axis, **self.spec)
        return y
