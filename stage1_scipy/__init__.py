"""The reference: SciPy and PyWavelets called, or the textbook written out.  Slow and literal on purpose."""

from .fourier import dct, idct
from .hierarchical_tucker import ht, unht
from .ranks import energy_rank, evbmf, evbmf_spectrum
from .svd import svd, unsvd

__all__ = ["dct", "energy_rank", "evbmf", "evbmf_spectrum", "ht", "idct", "svd", "unht", "unsvd"]
