"""A convolution or Linear layer as two smaller ones, by a truncated SVD of its weight, matricised in one of two ways.

channel  rows = outputs, columns = inputs x height x width:  k x k to r channels, then 1 x 1 (Denton et al. 2014; Zhang
         et al. 2016).  Linear and 1 x 1: two of the same.
spatial  rows = inputs x height, columns = outputs x width:  k x 1 to r channels, then 1 x k (Jaderberg et al. 2014,
         scheme 2).

Of a transposed convolution `channel` has rows = inputs, columns = outputs x height x width:  1 x 1 to r channels, then
k x k transposed.  The 1 x 1 stands first, on the smaller feature map: with i inputs, o outputs and stride s it takes
r (i + o k^2) multiply-accumulates per input position, the other order r (i k^2 + o s^2), which is never less where
o <= i, as it mostly is in decoders.

Groups are decomposed one by one, all to the same rank.  Both factors carry the square root of the singular values, so
that gradients reach them at the same scale.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

from stage3_torch import svd

from ..network import Layer, is_plain
from .compose import grouped
from .scheme import Shape
from .specs import Form, Spec, check_count, check_keys
from .spectra import grid, kept, spectrum


class SVDScheme(NamedTuple):
    """One matricisation: groups of matrices from a weight, and the two factors' shapes and weights back from them."""

    kernel: str
    spatial: bool

    def refusal(self, layer: nn.Module) -> str | None:
        """Say why the layer cannot be factored so, or None."""
        name = type(layer).__name__
        if not self.spatial:
            known = any(is_plain(layer, kind) for kind in (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
            return None if known else f"{name} has no SVD scheme"
        if isinstance(layer, nn.Linear):
            return f"{name} has no height and width"
        if not isinstance(layer, nn.Conv2d) or not is_plain(layer, nn.Conv2d):
            return f"{name} is not a plain Conv2d"
        if 1 in layer.kernel_size:
            return f"a {layer.kernel_size[0]}x{layer.kernel_size[1]} kernel has no two spatial axes to separate"
        return None

    def matrices(self, layer: Layer) -> Tensor:
        """Return the weight as (groups, rows, columns)."""
        if isinstance(layer, nn.Linear):
            return layer.weight.detach()[None]
        w = grouped(layer)
        if isinstance(layer, nn.ConvTranspose2d):
            return w.transpose(1, 2).flatten(2)
        return w.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2) if self.spatial else w.flatten(2)

    def check(self, layer: Layer, spec: Spec) -> None:
        """Refuse all but a rank that the matrices have."""
        check_keys(spec, "rank")
        check_count(spec["rank"], "rank", min(self.matrices(layer).shape[1:]))

    def candidates(self, layer: Layer, multiple: int = 1) -> list[Form]:
        """Offer all ranks, or as many as a grid has; errors by Eckart & Young 1936."""
        energies = kept(spectrum(self.matrices(layer))).tolist()
        ranks = grid(len(energies), multiple)
        return [Form(self.kernel, {"rank": rank}, error=max(0.0, 1 - energies[rank - 1])) for rank in ranks]

    def sides(self, layer: Layer) -> list[Tensor]:
        """Return the matrices alone."""
        return [self.matrices(layer)]

    def at_ranks(self, layer: Layer, ranks: Sequence[int]) -> Spec:
        """Return the spec of this rank of the matrices."""
        return {"rank": ranks[0]}

    def shapes(self, layer: Layer, spec: Spec) -> list[Shape]:
        """Return the two factors, in the order in which they are applied."""
        rank = spec["rank"]
        if isinstance(layer, nn.Linear):
            return [Shape(layer.in_features, rank), Shape(rank, layer.out_features)]
        g = layer.groups
        if isinstance(layer, nn.ConvTranspose2d):
            last = Shape(g * rank, layer.out_channels, height=True, width=True, groups=g)
            return [Shape(layer.in_channels, g * rank, groups=g), last]
        first = Shape(layer.in_channels, g * rank, height=True, width=not self.spatial, groups=g)
        return [first, Shape(g * rank, layer.out_channels, width=self.spatial, groups=g)]

    def weights(self, layer: Layer, spec: Spec) -> list[Tensor]:
        """Return the factors of the best approximation of the weight of this rank, in the weight's own norm."""
        u, s, vt = svd(self.matrices(layer), spec["rank"])
        left, right = u * s.sqrt()[:, None, :], s.sqrt()[:, :, None] * vt  # (g, rows, r), (g, r, columns)
        if isinstance(layer, nn.ConvTranspose2d):
            return [left.mT, right.unflatten(2, (-1, *layer.kernel_size)).transpose(1, 2)]
        if not self.spatial:
            return [right, left]
        right = right.unflatten(2, (-1, layer.weight.shape[-1])).transpose(1, 2)  # (g, outputs, r, width)
        return [left.transpose(1, 2), right]


CHANNEL, SPATIAL = SVDScheme("svd", spatial=False), SVDScheme("spatial", spatial=True)
