"""torch alone: differentiable, batched, any device and float dtype.  The fast one, which the layers are built on."""

from .cp import cp, uncp
from .fourier import dct, idct
from .hierarchical_tucker import ht, unht
from .ranks import energy_rank, evbmf, evbmf_spectrum
from .svd import svd, unsvd
from .tucker import tucker, untucker

__all__ = [
    "cp",
    "dct",
    "energy_rank",
    "evbmf",
    "evbmf_spectrum",
    "ht",
    "idct",
    "svd",
    "tucker",
    "uncp",
    "unht",
    "unsvd",
    "untucker",
]
