"""One orthonormal transform along one axis, whatever its code looks like, and the frequencies of its rows."""

import torch
from torch import Tensor

import stage3_torch
from checks import require
from contract import KERNELS

REAL = [name for name, kernel in KERNELS.items() if kernel.linear and name != "dft"]


def check_transform(name: str, wavelet: str | None) -> None:
    """Refuse what is not a real orthonormal transform, and a wavelet for one that has none."""
    require(name != "dft", "kernel", name, f"one of {', '.join(REAL)}; the dft is complex, its real form is the dht")
    require(name in REAL, "kernel", name, f"one of {', '.join(REAL)}")
    require(wavelet is None or name == "dwt", "wavelet", wavelet, f"None for the {name}")


def _levels(n: int, levels: int | None) -> int:
    """As many as asked for and possible: axes of one weight differ in length, so each takes what it can."""
    most = (n - 1).bit_length()
    return most if levels is None else min(levels, most)


def bands(n: int, levels: int | None) -> list[int]:
    """Lengths of (approx, coarsest detail, ..., finest): a level takes n to ceil(n / 2) and floor(n / 2)."""
    details: list[int] = []
    for _ in range(_levels(n, levels)):
        n, detail = n - n // 2, n // 2
        details.insert(0, detail)
    return [n, *details]


def analyse(x: Tensor, name: str, axis: int, wavelet: str | None = None, levels: int | None = None) -> Tensor:
    """T x along `axis`, T (n, n) orthonormal; a wavelet's bands are concatenated, coarsest first."""
    lines = x.movedim(axis, -1)
    flat = lines.reshape(-1, lines.shape[-1])  # a matrix: products with more axes are done one by one
    if name == "dwt":
        y = torch.cat(stage3_torch.dwt(flat, wavelet or "haar", _levels(flat.shape[1], levels)), 1)
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


def row_frequencies(name: str, n: int, levels: int | None = None) -> Tensor:
    """(n,) the frequency of each row of T as a fraction of the Nyquist frequency; a band counts as its lowest one."""
    k = torch.arange(n, dtype=torch.float64)
    if name == "dst":
        return (k + 1) / n
    if name == "dht":  # row n - k is row k with another phase
        return torch.minimum(k, n - k) * 2 / n
    if name == "dwt":
        sizes = bands(n, levels)
        lowest = [0.0, *(2.0**-level for level in range(len(sizes) - 1, 0, -1))]
        return torch.repeat_interleave(torch.tensor(lowest, dtype=torch.float64), torch.tensor(sizes))
    if name == "shannon":  # the mean, octaves [a, 2a) of two phases each, for even n the Nyquist frequency
        pairs = ((k + 1) / 2).floor().clamp(min=1)
        octaves = torch.where(k == 0, 0, torch.exp2(pairs.log2().floor())) * 2 / n
        return torch.where((k == n - 1) & (n % 2 == 0), 1.0, octaves)
    return k / n
