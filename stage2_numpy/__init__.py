"""NumPy alone: basis matrices and contractions, derived independently of stage 1."""

from .fourier import dct, dft, dht, dst, idct, idft, idht, idst
from .svd import svd, unsvd
from .wavelet import dwt, idwt, ishannon, shannon

__all__ = [
    "dct",
    "dft",
    "dht",
    "dst",
    "dwt",
    "idct",
    "idft",
    "idht",
    "idst",
    "idwt",
    "ishannon",
    "shannon",
    "svd",
    "unsvd",
]
