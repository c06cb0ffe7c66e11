"""torch alone: differentiable, batched, any device and float dtype.  The fast one, which the layers are built on."""

from .cp import cp, uncp
from .fourier import dct, idct
from .svd import svd, unsvd
from .tucker import tucker, untucker

__all__ = ["cp", "dct", "idct", "svd", "tucker", "uncp", "unsvd", "untucker"]
