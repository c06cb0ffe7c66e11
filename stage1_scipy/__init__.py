"""The reference: SciPy and PyWavelets called, or the textbook written out.  Slow and literal on purpose."""

from .fourier import dct, idct
from .hierarchical_tucker import ht, unht
from .svd import svd, unsvd

__all__ = ["dct", "ht", "idct", "svd", "unht", "unsvd"]
