"""Make the few numbers that the inverse transforms of `loader.py` look up, stored beside the coefficients.

Stage 3 owes its speed to tables, n x n ones for short axes, which may outgrow the coefficients they decode.
"""

from functools import lru_cache

import torch

import stage3_torch

from ..loader import SHORT, Tables, long_levels
from .spectrum import analyse


@lru_cache(maxsize=256)
def tables(name: str, n: int, wavelet: str | None = None, levels: int | None = None) -> Tables:
    """The tables for the synthesis of n samples: the matrix of a short axis; a wavelet's taps and the matrix of the
    levels that are left once the signal is short.

    taps (2r + 1, 2, 2): x[2k + e] = sum_s taps[r + s, 0, e] a[k - s] + taps[r + s, 1, e] d[k - s], s = -r, ..., r.
    """
    if n > SHORT and name != "dwt":
        return ()
    short, left = long_levels(n, levels)[::2] if name == "dwt" else (n, None)
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
