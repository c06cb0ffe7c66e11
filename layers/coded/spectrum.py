"""Apply one orthonormal transform along one axis, whatever its code looks like."""

import torch
from torch import Tensor

import stage3_torch
from checks import require
from contract import KERNELS

from ..loader import bands

REAL = [name for name, kernel in KERNELS.items() if kernel.linear and name != "dft"]


def check_transform(name: str, wavelet: str | None) -> None:
    """Refuse what is not a real orthonormal transform, and a wavelet for one that has none."""
    require(name != "dft", "kernel", name, f"one of {', '.join(REAL)}; the dft is complex, its real form is the dht")
    require(name in REAL, "kernel", name, f"one of {', '.join(REAL)}")
    require(wavelet is None or name == "dwt", "wavelet", wavelet, f"None for the {name}")


def analyse(x: Tensor, name: str, axis: int, wavelet: str | None = None, levels: int | None = None) -> Tensor:
    """T x along `axis`, T (n, n) orthonormal; a wavelet's bands are concatenated, coarsest first."""
    lines = x.movedim(axis, -1)
    flat = lines.reshape(-1, lines.shape[-1])  # a matrix: products with more axes are done one by one
    if name == "dwt":
        y = torch.cat(stage3_torch.dwt(flat, wavelet or "haar", len(bands(flat.shape[1], levels)) - 1), 1)
    else:
        y = getattr(stage3_torch, KERNELS[name].encode)(flat)
    return y.reshape(lines.shape).movedim(-1, axis)


def synthesise(y: Tensor, name: str, axis: int, wavelet: str | None = None, levels: int | None = None) -> Tensor:
    """T^T y along `axis`, the inverse of `analyse`."""
    lines = y.movedim(axis, -1)
    flat = lines.reshape(-1, lines.shape[-1])
    if name == "dwt":
        x = stage3_torch.idwt(flat.split(bands(flat.shape[1], levels), 1), wavelet or "haar")
    else:
        x = getattr(stage3_torch, KERNELS[name].decode)(flat)
    return x.reshape(lines.shape).movedim(-1, axis)
