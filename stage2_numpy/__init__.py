"""NumPy alone: basis matrices and contractions, derived independently of stage 1."""

from .fourier import dct, idct
from .hierarchical_tucker import ht, unht
from .svd import svd, unsvd

__all__ = ["dct", "ht", "idct", "svd", "unht", "unsvd"]
