"""torch alone: differentiable, batched, any device and float dtype.  The fast one, which the layers are built on."""

from .cp import cp as cp, uncp as uncp
from .fourier import (
    dct as dct,
    dft as dft,
    dht as dht,
    dst as dst,
    idct as idct,
    idft as idft,
    idht as idht,
    idst as idst,
)
from .hierarchical_tucker import ht as ht, unht as unht
from .ranks import energy_rank as energy_rank, evbmf as evbmf, evbmf_spectrum as evbmf_spectrum
from .svd import svd as svd, unsvd as unsvd
from .tucker import tucker as tucker, untucker as untucker
from .wavelet import dwt as dwt, idwt as idwt, ishannon as ishannon, shannon as shannon
