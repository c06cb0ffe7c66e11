"""A convolution as 1 x 1 to r_in channels, k x k to r_out, 1 x 1: Tucker-2 of its weight (Kim et al. 2016, 3.1).

W(o, i, h, w) ~ sum_pq U(o, p) core(p, q, h, w) V(i, q), with the same ranks in every group.  U and V are the leading
eigenvectors of the two Gram matrices (truncated HOSVD, De Lathauwer et al. 2000a): one decomposition then gives the
error of every pair of ranks exactly, where orthogonal iteration would have to run for each of them, to err 1 to 3 %
less.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor, nn

import stage3_torch
from checks import check_ranks

from ..network import Layer
from .compose import grouped
from .scheme import Shape, balanced, matrix_refusal, unfoldings
from .specs import Form, Spec, check_counts, check_keys
from .spectra import energy_of, equal_energy


class TuckerScheme(NamedTuple):
    """Two ranks, of outputs and of inputs; height and width stay as they are."""

    kernel: str

    def refusal(self, layer: nn.Module) -> str | None:
        """Leave matrices to the svd, depthwise kernels to spatial separation."""
        return matrix_refusal(layer, spatial=False)

    def check(self, layer: Layer, spec: Spec) -> None:
        """Refuse all but two ranks up to the channels of a group."""
        _, out, into, _, _ = grouped(layer).shape
        check_keys(spec, "ranks")
        check_counts(spec["ranks"], "ranks", out=out, into=into)

    def candidates(self, layer: Layer, multiple: int = 1) -> list[Form]:
        """Offer ranks of equal energy in the two spectra; the energy kept is that of a corner of the full core."""
        w = grouped(layer).double()
        core = stage3_torch.tucker(w, w.shape[1:3], (0, 1), sweeps=0, batch=1).core
        squares = core.square().sum((0, 3, 4))  # (r_out, r_in)
        corner, total = squares.cumsum(0).cumsum(1), energy_of(w)
        path = equal_energy([squares.sum(1), squares.sum(0)], multiple)
        return [
            Form(self.kernel, {"ranks": [out, into]}, error=max(0.0, 1 - float(corner[out - 1, into - 1]) / total))
            for out, into in dict.fromkeys(_ranks(w, pair) for pair in path)
        ]

    def sides(self, layer: Layer) -> list[Tensor]:
        """Return the unfoldings by outputs and by inputs."""
        return unfoldings(layer)

    def at_ranks(self, layer: Layer, ranks: Sequence[int]) -> Spec:
        """Return the spec of both ranks."""
        return {"ranks": [*_ranks(grouped(layer), ranks)]}

    def shapes(self, layer: Layer, spec: Spec) -> list[Shape]:
        """Return 1 x 1, k x k, 1 x 1, each in the groups of the layer."""
        assert isinstance(layer, nn.Conv2d)
        g = layer.groups
        out, into = (g * rank for rank in _ranks(grouped(layer), spec["ranks"]))
        return [
            Shape(layer.in_channels, into, groups=g),
            Shape(into, out, height=True, width=True, groups=g),
            Shape(out, layer.out_channels, groups=g),
        ]

    def weights(self, layer: Layer, spec: Spec) -> list[Tensor]:
        """Return V^T, core, U of the truncated HOSVD, scaled to the same norm."""
        w = grouped(layer)
        core, (u, v) = stage3_torch.tucker(w, _ranks(w, spec["ranks"]), (0, 1), sweeps=0, batch=1)
        return balanced([v.mT, core, u])


def _ranks(w: Tensor, ranks: Sequence[int]) -> tuple[int, int]:
    """(r_out, r_in), neither above what the other one leaves: r_out <= r_in h w, r_in <= r_out h w."""
    out, into = check_ranks(ranks, (0, 1), w.shape[1:])
    return out, into


TUCKER = TuckerScheme("tucker")
