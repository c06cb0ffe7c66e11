"""NumPy alone: basis matrices and contractions, derived independently of stage 1."""

from .cp import cp, uncp
from .fourier import dct, idct
from .svd import svd, unsvd
from .tucker import tucker, untucker

__all__ = ["cp", "dct", "idct", "svd", "tucker", "uncp", "unsvd", "untucker"]
