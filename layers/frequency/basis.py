"""Rows of a transform as functions of their frequency: what frequency layers are made of.

Frequencies are counted in bins, so at f = 0, 1, 2, ... the rows are those of stage 1, and a step of 1 turns a row into
an orthogonal one: |dW_k / df_k| is about |W_k| (pi / sqrt 3 times it for the cosine), whatever the number of inputs.
What is trained is the way from the start in units of n^(1/4) bins, f = start + n^(1/4) phi.  The weights of a dense
layer are of order 1 / sqrt(n), so a step of Adam changes its rows by a fraction lr sqrt(n), which a unit of sqrt(n)
bins would equal, while the steps of SGD grow with the square of the unit; n^(1/4) is between the two, and the learning
rates of dense layers serve both (the published layers, which count in 1/out, had a hook that replaced each gradient g
by g / |g|).  And weight decay pulls a frequency towards its start, not towards zero.

Departures from the published layers (seed 004), and why:

dct, dst  frequencies are in bins of the inputs, not f n / out, so that any integers are orthonormal rows (120 to 84
          were not), and the end rows' factor sqrt(1/2) belongs to the frequency, not to the row number;
shannon   the rows of `stage1_scipy.shannon` with the lowest frequency of the band learned, its width and translation
          fixed: a periodic sinc times cosine or sine.  The published sinc(t/n) cos(2 pi f t / n) has f and n - f
          coincide, hence rank floor(n/2) + 1, and its sinc, one main lobe 2n wide, is nearly constant.
"""

from math import ceil, pi, sqrt

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from checks import require

from .waves import trig_scale, wave

COMPLEX = ("dft", "complex_shannon")
BASES = ("dct", "dst", "dht", "shannon", *COMPLEX)


def octaves(n: int) -> Tensor:
    """(n, 4) the rows (a, m, k, phase in turns) of the Shannon basis: m frequencies from a on, translate k of m."""
    rows, a = [(0.0, 1.0, 0.0, 0.0)], 1
    while 2 * a < n:
        m = min(a, (n + 1) // 2 - a)
        rows += [(float(a), float(m), float(k), phase) for phase in (0.0, 0.25) for k in range(m)]
        a *= 2
    return torch.tensor(rows if n % 2 or n == 1 else [*rows, (n / 2, 1.0, 0.0, 0.0)], dtype=torch.float64)


def _spread(rows: int, n: int) -> Tensor:
    """The row of an n x n transform from which each of `rows` starts: distinct ones as long as there are.

    Row 0 is left out where it can be: behind a relu all inputs are positive, so it would hold their mean, sqrt(n) times
    what any other row holds, the same for every image, and drown them in the layers that follow.
    """
    k = torch.arange(rows)
    return ((k + 1) * n + rows - 1) // rows - 1 if rows <= n else k % n


class Basis(nn.Module):
    """f (rows,) -> (rows, n), row k being the transform's row at frequency f_k; real, or complex for the dft.

    At `start()` the rows are orthonormal where rows <= n: distinct integers, spread over the whole band.  More rows
    than inputs share the band evenly between its first and its last row.
    """

    def __init__(self, kernel: str, rows: int, n: int) -> None:
        super().__init__()
        require(kernel in BASES, "kernel", kernel, f"one of {', '.join(BASES)}")
        require(rows >= 1, "rows", rows, "at least 1")
        require(n >= 1, "inputs", n, "at least 1")
        self.kernel, self.rows, self.n = kernel, rows, n
        # Shannon's rows and windows are functions of the shape, so neither saved nor rounded with the parameters
        self._table = octaves(n)[_spread(rows, n)] if "shannon" in kernel else torch.empty(0, 4)
        self._window: Tensor | None = None

    def start(self) -> Tensor:
        """The frequencies (rows,) to begin with, in float64."""
        k = torch.arange(self.rows, dtype=torch.float64)
        if "shannon" in self.kernel:
            # inwards by less than half a bin: at n/2 a sine is zero on every sample
            share = k.div(self.n, rounding_mode="floor") / ceil(self.rows / self.n) / 2
            first = self._table[:, 0]
            return torch.where(first > 0, first - share, share)
        return _spread(self.rows, self.n).double() if self.rows <= self.n else k * (self.n - 1) / (self.rows - 1)

    def at(self, phi: Tensor) -> Tensor:
        """The frequencies (rows,) in bins, in float64, for the trained numbers phi (rows,): start + n^(1/4) phi."""
        return self.start().to(phi.device) + self.n**0.25 * phi.double()

    def window(self, device: torch.device, dtype: torch.dtype) -> Tensor:
        """amplitude sin(pi m theta) / sin(pi theta), theta = t/n - k/m: the periodic sinc of each band.

        (rows, n), padded with zeros to the blocks of `wave`."""
        if self._window is None or self._window.dtype != dtype or self._window.device != device:
            t = torch.arange(self.n, dtype=torch.float64)
            parts = []
            for _, m, k, _ in (part.T[..., None] for part in self._table.split(256)):
                at = (t * m - k * self.n) / (self.n * m)
                centre = t * m == k * self.n
                kernel = torch.where(centre, m, torch.sin(pi * m * at) / torch.sin(pi * torch.where(centre, 0.5, at)))
                parts.append((kernel / (self.n * m).sqrt()).to(device, dtype))
            block = ceil(sqrt(self.n))
            self._window = F.pad(torch.cat(parts), (0, -self.n % block))
        return self._window

    def forward(self, frequency: Tensor, dtype: torch.dtype | None = None) -> Tensor:
        """The matrix, in the dtype given, or that of the frequencies, or its complex one."""
        f, n, real = frequency.double(), self.n, dtype or frequency.dtype
        dtype = real.to_complex() if self.kernel in COMPLEX else real
        if self.kernel in ("dct", "dst"):
            f = f if self.kernel == "dct" else f + 1
            quarter = 0 if self.kernel == "dct" else -0.25  # sin x = cos(x - a quarter turn)
            return wave(f / (2 * n), f / (4 * n) + quarter, trig_scale(f, n), n, False, dtype)
        one = torch.ones_like(f)
        if self.kernel == "dft":
            return wave(-f / n, 0 * f, one / sqrt(n), n, True, dtype)
        if self.kernel == "dht":  # cas x = sqrt 2 cos(x - an eighth of a turn)
            return wave(f / n, 0 * f - 0.125, one * sqrt(2 / n), n, False, dtype)
        first, m, k, phase = self._table.to(f.device).T
        centre = f + (m - 1) / 2
        if self.kernel == "shannon":  # the mean and the Nyquist frequency stand alone, all others in pairs
            scale = torch.where(2 * first % n == 0, 1.0, one * sqrt(2))
            return wave(centre / n, -centre * k / m - phase, scale, n, False, dtype, self.window(f.device, real))
        sign = torch.where(phase == 0, 1.0, -1.0)  # u and its conjugate, in place of sqrt 2 Re u and sqrt 2 Im u
        return wave(sign * centre / n, -sign * centre * k / m, one, n, True, dtype, self.window(f.device, real))
