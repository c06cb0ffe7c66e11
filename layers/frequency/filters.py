"""The weights of frequency layers, contracted from the bases of their axes."""

from math import sqrt

import torch
from torch import Tensor

from ..coded import Decoded
from .basis import Basis


class Rows(Decoded):
    """W = basis(start + in^(1/4) fc), (out, in)."""

    def __init__(self, kernel: str, outputs: int, inputs: int) -> None:
        super().__init__()
        self.channels = Basis(kernel, outputs, inputs)

    def decode(self, *arrays: Tensor) -> Tensor:
        """The weight (out, in)."""
        weight: Tensor = self.channels(self.channels.at(arrays[0]), arrays[0].dtype)
        return weight


class Filters(Decoded):
    """W[o, i, y, x] = sqrt(n) kc[o, i] sum_pq delta[o, p, q] kh[p, y] kw[q, x], n = in / groups; (out, n, kH, kW).

    kc, kh and kw are bases at the frequencies that fcc, fch and fcw stand for.  The factor makes delta as large as a
    weight of a dense layer, so that it trains at the same learning rate.  (The published reshape merged frequency and
    time of the height, so that all filters shared one pattern; its mean over p, q let the variance fall with the
    kernel's size; its complex form summed over real and imaginary parts, where this is the complex product.)
    """

    def __init__(self, kernel: str, outputs: int, inputs: int, groups: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.groups, self.size = groups, size
        self.channels = Basis(kernel, outputs // groups, inputs // groups)
        self.height, self.width = Basis(kernel, size[0], size[0]), Basis(kernel, size[1], size[1])

    def decode(self, *arrays: Tensor) -> Tensor:
        """The weight from fcc (out,), fch (kH,), fcw (kW,), delta (out, kH kW)."""
        fcc, fch, fcw, delta = arrays
        kc = torch.cat([self.channels(self.channels.at(part), delta.dtype) for part in fcc.chunk(self.groups)])
        kh, kw = (axis(axis.at(phi), delta.dtype) for axis, phi in ((self.height, fch), (self.width, fcw)))
        patterns = delta.unflatten(1, self.size).to(kc.dtype) * sqrt(self.channels.n)
        # height first, then width: three factors in one einsum may be contracted in a larger order
        patterns = torch.einsum("opx,py->oyx", torch.einsum("opq,qx->opx", patterns, kw), kh)
        return kc[:, :, None, None] * patterns[:, None]
