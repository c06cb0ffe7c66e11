"""NumPy alone: basis matrices and contractions, derived independently of stage 1."""

from .fourier import dct, idct
from .svd import svd, unsvd

__all__ = ["dct", "idct", "svd", "unsvd"]
