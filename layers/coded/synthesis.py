"""The inverse transforms from formulas, in float64: by these every weight of a Transform is decoded in eval mode.

Stage 3 owes its speed to tables, n x n ones for short axes, which may outgrow the coefficients they decode.  Here is
nearly nothing to store, so that `recipe.py` can write the very operations of the decoding beside the coefficients:
whoever repeats them has the same weight, bit for bit.
"""

from functools import lru_cache
from math import pi, sqrt

import torch
from torch import Tensor

import stage3_torch

from .spectrum import analyse, bands

SHORT = 8  # samples up to which the matrix is shorter than its formulas
Tables = tuple[Tensor, ...]


@lru_cache(maxsize=256)
def tables(name: str, n: int, wavelet: str | None = None, levels: int | None = None) -> Tables:
    """What the synthesis of n samples is told: the matrix of a short axis; of a wavelet, its taps and the matrix of
    the levels that are left once the signal is short.

    taps (2r + 1, 2, 2): x[2k + e] = sum_s taps[r + s, 0, e] a[k - s] + taps[r + s, 1, e] d[k - s], s = -r, ..., r.
    """
    if n > SHORT and name != "dwt":
        return ()
    short, left = _long_levels(n, levels)[::2] if name == "dwt" else (n, None)
    matrices: Tables = ()
    if short <= SHORT:
        eye = torch.eye(short, dtype=torch.float64)
        # contiguous, as a table read from a file is: a product with a transposed matrix may round in another order
        matrices = (analyse(eye, name, 0, wavelet, left).contiguous(),)
    if n <= SHORT:
        return matrices
    impulse = torch.eye(128, dtype=torch.float64)[64]  # with room for every filter, 102 taps, on either side
    pairs = (impulse, 0 * impulse), (0 * impulse, impulse)
    taps = torch.stack([stage3_torch.idwt(pair, wavelet or "haar").reshape(128, 2) for pair in pairs], 1)
    reach = int((taps.abs().amax((1, 2)).nonzero() - 64).abs().max())
    return taps[64 - reach : 65 + reach].clone(), *matrices


def _long_levels(n: int, levels: int | None) -> tuple[int, list[int], int]:
    """(samples left, details of the levels above, coarsest first, levels left) once the signal is short."""
    details = bands(n, levels)[1:]
    above: list[int] = []
    while n > SHORT and len(above) < len(details):
        above.insert(0, n // 2)
        n -= n // 2
    return n, above, len(details) - len(above)


def synthesis(y: Tensor, name: str, axis: int, known: Tables, levels: int | None = None) -> Tensor:
    """T^T y along `axis`, y float64, `known` its tables: `spectrum.synthesise` up to rounding."""
    lines = y.movedim(axis, -1)
    flat, known = lines.reshape(-1, lines.shape[-1]), tuple(table.to(y.device) for table in known)
    if lines.shape[-1] <= SHORT:
        x = flat @ known[0]
    elif name == "dwt":
        x = _wavelet(flat, levels, *known)
    else:
        x = {"dct": _dct, "dst": _dst, "dht": _hartley, "shannon": _shannon}[name](flat)
    return x.reshape(lines.shape).movedim(-1, axis)


def _count(y: Tensor) -> Tensor:
    """1, 2, ..., as many as y (rows, n) has columns, by operations that say no size of their own."""
    return torch.ones_like(y[0]).cumsum(0)


def _waves(y: Tensor, k: Tensor, phase: float) -> tuple[Tensor, Tensor]:
    """Bins k of a real FFT of 2n samples t for y_k cos(pi k (2t + 1) / 2n + phase) sqrt(2/n); and an empty bin."""
    n = y.shape[1]
    angle, scale = k * (pi / (2 * n)) + phase, sqrt(0.5 / n)  # the FFT counts all bins but the first and last twice
    z = torch.complex(y * (scale * angle.cos()), y * (scale * angle.sin()))
    return z, 0 * z[:, :1]


def _dct(y: Tensor) -> Tensor:
    z, empty = _waves(torch.cat([sqrt(2) * y[:, :1], y[:, 1:]], 1), _count(y) - 1, 0.0)
    return torch.fft.irfft(torch.cat([z, empty], 1), norm="forward")[:, : y.shape[1]]


def _dst(y: Tensor) -> Tensor:
    z, empty = _waves(torch.cat([y[:, :-1], sqrt(2) * y[:, -1:]], 1), _count(y), -pi / 2)
    return torch.fft.irfft(torch.cat([empty, z], 1), norm="forward")[:, : y.shape[1]]


def _hartley(y: Tensor) -> Tensor:
    z = torch.fft.fft(y, norm="ortho")
    return z.real - z.imag


def _shannon(y: Tensor) -> Tensor:
    """From the translates of each octave [a, a + m) to its frequencies by a DFT of m, then from all of them to x."""
    n = y.shape[1]
    parts, a = [torch.complex(y[:, :1], 0 * y[:, :1])], 1
    while 2 * a < n:
        m = min(a, (n + 1) // 2 - a)
        cosine, sine = (y[:, start : start + m] for start in (2 * a - 1, 2 * a - 1 + m))
        parts.append(
            torch.fft.fft(torch.complex(sqrt(0.5) * cosine, -sqrt(0.5) * sine), norm="ortho").roll(-(a % m), 1)
        )
        a *= 2
    parts += [] if n % 2 else [torch.complex(y[:, -1:], 0 * y[:, -1:])]
    return torch.fft.irfft(torch.cat(parts, 1), n, norm="ortho")


def _wavelet(y: Tensor, levels: int | None, taps: Tensor, matrix: Tensor | None = None) -> Tensor:
    """The short levels at once, then one by one: circular convolutions of q pairs, a last odd sample passing."""
    m, details, _ = _long_levels(y.shape[1], levels)
    if matrix is not None:
        y = torch.cat([y[:, :m] @ matrix, y[:, m:]], 1)
    reach = len(taps) // 2
    for q in details:
        pairs = torch.stack([y[:, :q], y[:, m : m + q]], 2)
        x = (pairs.roll(-reach, 1) if reach else pairs).reshape(-1, 2) @ taps[0]
        for s in range(1 - reach, reach + 1):
            x = x + (pairs.roll(s, 1) if s else pairs).reshape(-1, 2) @ taps[reach + s]
        y, m = torch.cat([x.reshape(-1, 2 * q), y[:, q:m], y[:, m + q :]], 1), m + q
    return y
