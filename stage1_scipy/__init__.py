"""The reference: SciPy and PyWavelets called, or the textbook written out.  Slow and literal on purpose."""

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
