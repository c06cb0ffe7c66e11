"""A convolution as 1 x 1 to r channels, a depthwise one, 1 x 1: canonical polyadic decomposition of its weight.

joint      W(o, i, hw) ~ sum_k a_k(o) b_k(i) c_k(hw):  1 x 1, depthwise k x k, 1 x 1; the filters need not separate.
separable  W(o, i, h, w) ~ sum_k a_k(o) b_k(i) c_k(h) d_k(w):  1 x 1, depthwise k x 1 and 1 x k, 1 x 1 (Lebedev et al.
           2015, section 3.2).

Groups are decomposed one by one, all to the same rank.  The alternating least squares start from slices' SVDs and draw
nothing at random, so planning and building meet the same factors: the error of a candidate is that of its layer.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from torch import Tensor, nn

import stage3_torch
from checks import require
from contract import CP

from ..network import Layer
from .compose import grouped
from .scheme import LARGE, Shape, matrix_refusal, unfoldings
from .specs import Form, Spec, check_count, check_keys
from .spectra import energy_of, rounded

SWEEPS = 25  # per candidate: on trained 3 x 3 layers the error is then within 13 % of that after fifty
FEWER = 10  # of a large layer, as a sweep takes the cube of its channels
RANKS = 8  # tried per layer: each has to be decomposed anew


class CPScheme(NamedTuple):
    """Whether height and width are one mode or two."""

    kernel: str
    separable: bool

    def refusal(self, layer: nn.Module) -> str | None:
        """Leave matrices to the svd, depthwise kernels to spatial separation."""
        return matrix_refusal(layer, spatial=self.separable)

    def tensors(self, layer: Layer) -> Tensor:
        """Return the weight as (groups, outputs, inputs, height x width), or with the last two apart."""
        return grouped(layer) if self.separable else grouped(layer).flatten(3)

    def full(self, layer: Layer) -> int:
        """Return the rank at which the start of stage 3's cp is exact: all sizes multiplied, the largest left out."""
        shape = self.tensors(layer).shape[1:]
        return shape.numel() // max(shape)

    def check(self, layer: Layer, spec: Spec) -> None:
        """Refuse all but a rank up to the one that suffices for every tensor of this shape, and a bound below 1.

        bound: the largest relative error that the terms may have when their norms are made as small as they can be
        (Phan et al. 2019, 2020): terms that nearly cancel make a layer hard to fine-tune.
        """
        check_keys(spec, "rank", optional=["bound"])
        check_count(spec["rank"], "rank", self.full(layer))
        bound = spec.get("bound")
        number = isinstance(bound, int | float) and not isinstance(bound, bool) and 0 <= bound < 1
        require(bound is None or number, "bound", bound, "a relative error from 0 to below 1")

    def decomposed(self, layer: Layer, rank: int, bound: float | None = None) -> CP[Tensor]:
        """Return the factors; at full rank the start is the tensor itself and no sweep is needed but for a bound."""
        sweeps = FEWER if layer.weight.numel() >= LARGE else SWEEPS
        sweeps = 0 if rank == self.full(layer) and bound is None else sweeps
        return stage3_torch.cp(self.tensors(layer), rank, sweeps, bound=bound, batch=1)

    def candidates(self, layer: Layer, multiple: int = 1) -> list[Form]:
        """Offer a few ranks, each sqrt(2) times the one before, up to 0.7 of the dense parameters; and full rank.

        Of a large layer every other one is decomposed, the largest and the smallest among them; the logarithm of the
        error between two is linear in the rank.
        """
        x, full = self.tensors(layer), self.full(layer)
        total = energy_of(x)
        most = min(full, max(1, x.numel() // (x.shape[0] * sum(x.shape[1:]))))
        ranks = {rounded(max(1, round(most / 2 ** (step / 2))), multiple, full) for step in range(1, RANKS + 1)}
        tried = sorted(ranks - {full})
        known = {*tried[-1::-2], *tried[:1]} if layer.weight.numel() >= LARGE else tried
        errors: dict[int, float] = {}
        for rank in sorted(known):
            left = (x.double() - stage3_torch.uncp(self.decomposed(layer, rank)).double()).square().sum()
            errors[rank] = 1 - max(0.0, 1 - float(left) / total)
        return [
            *(Form(self.kernel, {"rank": rank}, error=_between(errors, rank)) for rank in tried),
            Form(self.kernel, {"rank": full}),
        ]

    def sides(self, layer: Layer) -> list[Tensor]:
        """Return the unfoldings by outputs and by inputs."""
        return unfoldings(layer)

    def at_ranks(self, layer: Layer, ranks: Sequence[int]) -> Spec:
        """Return the spec of the larger of both ranks, below which no CP of them exists."""
        return {"rank": max(ranks)}

    def shapes(self, layer: Layer, spec: Spec) -> list[Shape]:
        """Return 1 x 1, depthwise (both axes at once, or height before width), 1 x 1."""
        assert isinstance(layer, nn.Conv2d)
        g, r = layer.groups, layer.groups * spec["rank"]
        middle = [(True, False), (False, True)] if self.separable else [(True, True)]
        return [
            Shape(layer.in_channels, r, groups=g),
            *(Shape(r, r, height, width, groups=r) for height, width in middle),
            Shape(r, layer.out_channels, groups=g),
        ]

    def weights(self, layer: Layer, spec: Spec) -> list[Tensor]:
        """Return the factors, the weight of each term shared out among them in equal parts."""
        terms, units = self.decomposed(layer, spec["rank"], spec.get("bound"))
        share = (terms ** (1 / len(units)))[:, None, :]
        out, into, *kernel = (unit * share for unit in units)  # (g, n, r)
        return [into.mT, *(k.mT for k in kernel), out]


def _between(errors: Mapping[int, float], rank: int) -> float:
    """Return the error at a rank: known, or its logarithm linear in the rank between the known ones on both sides."""
    if rank in errors:
        return errors[rank]
    a, b = max(known for known in errors if known < rank), min(known for known in errors if known > rank)
    if errors[b] <= 0:
        return errors[a]
    return errors[a] * (errors[b] / errors[a]) ** ((rank - a) / (b - a))


JOINT, SEPARABLE = CPScheme("cp", separable=False), CPScheme("cp4", separable=True)
