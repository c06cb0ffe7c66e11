"""torch alone: differentiable, batched, any device and float dtype.  The fast one, which the layers are built on."""

from .fourier import dct, idct
from .hierarchical_tucker import ht, unht
from .svd import svd, unsvd

__all__ = ["dct", "ht", "idct", "svd", "unht", "unsvd"]
