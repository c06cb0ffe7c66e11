"""The coefficients of the transforms as real numbers, and the frequency of each."""

from collections.abc import Sequence

import torch
from torch import Tensor

import stage3_torch
from contract import KERNELS
from layers.coded import row_frequencies

SPEC = {"dwt": {"wavelet": "haar"}}  # what is not the default; all levels that an axis has
SAME_ROWS = {"dft": "dht"}  # of the same frequencies
TRANSFORMS = tuple(name for name, kernel in KERNELS.items() if kernel.linear)


def coefficients(x: Tensor, kernel: str, axes: Sequence[int]) -> Tensor:
    """c = T x along each of `axes`: real, of the shape and the energy of x.

    dft: the spectrum of a real x is conjugate-symmetric, so N real numbers say all of it: sqrt(2) Re and sqrt(2) Im of
    one of each pair, and the real part where a frequency is its own partner.  These are what is kept and counted.
    """
    for axis in axes:
        spec: dict[str, object] = dict(SPEC.get(kernel, {}))
        if kernel == "dwt":
            spec["levels"] = (x.shape[axis] - 1).bit_length()
        code = getattr(stage3_torch, KERNELS[kernel].encode)(x, axis=axis, **spec)
        x = torch.cat(code, axis) if isinstance(code, tuple) else code
    return _pairs(x, axes) if x.is_complex() else x


def _pairs(z: Tensor, axes: Sequence[int]) -> Tensor:
    """Return the real numbers of a conjugate-symmetric spectrum: z[k] and z[-k] become sqrt(2) Re and sqrt(2) Im."""
    here = torch.arange(z.numel()).reshape(z.shape)
    partner = here.flip(list(axes)).roll([1] * len(axes), list(axes))
    half = torch.where(here < partner, z.real, z.imag) * 2**0.5
    return torch.where(here == partner, z.real, half)


def frequency(kernel: str, shape: Sequence[int], axes: Sequence[int]) -> Tensor:
    """|f| in cycles per sample of every coefficient of an array of that shape, 0 along the axes not in `axes`.

    That of one axis is `row_frequencies`, the lowest of a band of wavelets; axes add as squares.
    """
    total = torch.zeros(tuple(shape), dtype=torch.float64)
    for axis in axes:
        along = (row_frequencies(SAME_ROWS.get(kernel, kernel), shape[axis]) / 2).square()  # 1 is Nyquist's
        total += along.reshape([-1 if other == axis % len(shape) else 1 for other in range(len(shape))])
    return total.sqrt().round(decimals=9)  # equal frequencies are equal, whatever the rounding errors
