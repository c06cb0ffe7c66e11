"""The reference: SciPy and PyWavelets called, or the textbook written out.  Slow and literal on purpose."""

from .cp import cp, uncp
from .fourier import dct, idct
from .svd import svd, unsvd
from .tucker import tucker, untucker

__all__ = ["cp", "dct", "idct", "svd", "tucker", "uncp", "unsvd", "untucker"]
