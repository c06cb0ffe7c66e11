"""torch alone: differentiable, batched, any device and float dtype.  The fast one, which the layers are built on."""

from .cp import cp, uncp
from .fourier import dct, dft, dht, dst, idct, idft, idht, idst
from .hierarchical_tucker import ht, unht
from .ranks import energy_rank, evbmf, evbmf_spectrum
from .svd import svd, unsvd
from .tucker import tucker, untucker
from .wavelet import dwt, idwt, ishannon, shannon

__all__ = [
    "cp",
    "dct",
    "dft",
    "dht",
    "dst",
    "dwt",
    "energy_rank",
    "evbmf",
    "evbmf_spectrum",
    "ht",
    "idct",
    "idft",
    "idht",
    "idst",
    "idwt",
    "ishannon",
    "shannon",
    "svd",
    "tucker",
    "uncp",
    "unht",
    "unsvd",
    "untucker",
]
