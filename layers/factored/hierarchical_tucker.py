"""A convolution as 1 x 1, k x 1, 1 x k, 1 x 1: hierarchical Tucker of its weight (Grasedyck 2010; Gabor & Zdunek 2023).

The ranks of a spec are the channels between the four; the tree says which spatial axis comes first (row.py).  The
spatial leaves keep full rank: they end inside the k x 1 and 1 x k kernels, whose size they would not change.  Groups
are decomposed one by one, all to the same ranks.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn

import stage3_torch
from checks import require
from trees import Tree, dimension_tree, post_order

from ..network import Layer
from .compose import grouped
from .row import HEIGHT, IN, OUT, TREES, WIDTH, first_axis, is_row, modes, row
from .scheme import LARGE, Shape, balanced, matrix_refusal, unfoldings
from .specs import Form, Spec, check_counts, check_keys
from .spectra import energy_of, equal_energy, grid, spectrum

TREE = [[IN, HEIGHT], [WIDTH, OUT]]
RANKS = 12  # tried per layer, half as many of a large one: each has to be decomposed anew


class HTScheme(NamedTuple):
    """Three ranks, along the row of four factors, and the tree that orders it."""

    kernel: str

    def refusal(self, layer: nn.Module) -> str | None:
        """Leave matrices to the svd, depthwise kernels and those with one spatial axis to fewer factors."""
        return matrix_refusal(layer, spatial=True)

    def check(self, layer: Layer, spec: Spec) -> None:
        """Refuse all but ranks that the matricisations have, whichever axis comes first, and the tree of a row."""
        _, out, into, height, width = grouped(layer).shape
        middle = max(min(into * height, out * width), min(into * width, out * height))
        check_keys(spec, "ranks", "tree")
        check_counts(spec["ranks"], "ranks", into=into, middle=middle, out=out)
        require(is_row(spec["tree"]), "tree", spec["tree"], TREES)

    def candidates(self, layer: Layer, multiple: int = 1) -> list[Form]:
        """Offer ranks of equal energy in the three matricisations: a few that save parameters, and full rank."""
        w, tree = grouped(layer), dimension_tree(TREE, 4)
        out, into, mid = map(spectrum, self.sides(layer))
        total, size = energy_of(w), w.shape[1:].numel()
        path = [_cut(w, ranks, HEIGHT) for ranks in equal_energy([into, mid, out], multiple)]
        full = path.pop()

        def stored(r: tuple[int, int, int]) -> int:
            _, o, i, height, width = w.shape
            return i * r[0] + r[0] * height * r[1] + r[1] * width * r[2] + r[2] * o

        small = [r for r in dict.fromkeys(path) if r != full and stored(r) < size]
        most, forms = RANKS // 2 if w.numel() >= LARGE else RANKS, []
        for index in grid(len(small), most=most) if small else []:
            root = _decomposed(w, small[index - 1], tree).b  # it alone carries the norm
            lost = max(0.0, 1 - float(root.double().square().sum()) / total)
            forms.append(Form(self.kernel, {"ranks": [*small[index - 1]], "tree": TREE}, error=lost))
        return [*forms, Form(self.kernel, {"ranks": [*full], "tree": TREE})]

    def sides(self, layer: Layer) -> list[Tensor]:
        """Return the matricisations by outputs, by inputs, and by inputs and height."""
        return [*unfoldings(layer), grouped(layer).permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2)]

    def at_ranks(self, layer: Layer, ranks: Sequence[int]) -> Spec:
        """Return the spec of the three ranks along the row."""
        out, into, middle = ranks
        return {"ranks": [*_cut(grouped(layer), (into, middle, out), HEIGHT)], "tree": TREE}

    def shapes(self, layer: Layer, spec: Spec) -> list[Shape]:
        """Return 1 x 1, one spatial axis, the other, 1 x 1, each in the groups of the layer."""
        assert isinstance(layer, nn.Conv2d)
        first, g = first_axis(spec["tree"]), layer.groups
        into, mid, out = (g * rank for rank in _cut(grouped(layer), spec["ranks"], first))
        return [
            Shape(layer.in_channels, into, groups=g),
            Shape(into, mid, height=first == HEIGHT, width=first == WIDTH, groups=g),
            Shape(mid, out, height=first == WIDTH, width=first == HEIGHT, groups=g),
            Shape(out, layer.out_channels, groups=g),
        ]

    def weights(self, layer: Layer, spec: Spec) -> list[Tensor]:
        """Return the transfer tensors absorbed into the row, scaled to the same norm."""
        w, tree = grouped(layer), dimension_tree(spec["tree"], 4)
        ranks = _cut(w, spec["ranks"], first_axis(tree))
        return balanced(row(_decomposed(w, ranks, tree), tree))


def _cut(w: Tensor, ranks: Any, first: int) -> tuple[int, int, int]:
    """(r_in, r_mid, r_out), none above what its neighbours leave."""
    sizes = w.shape[1:]
    near, far = sizes[first], sizes[HEIGHT + WIDTH - first]
    into, mid, out = min(ranks[0], sizes[IN]), ranks[1], min(ranks[2], sizes[OUT])
    for _ in range(3):  # a cut runs along the row at most once
        mid = min(mid, into * near, far * out)
        into, out = min(into, near * mid), min(out, mid * far)
    return into, mid, out


def _decomposed(w: Tensor, ranks: tuple[int, int, int], tree: Tree) -> Any:
    """Decompose with these ranks on the edges of the row; the other edges have full rank."""
    known = {frozenset({IN}): ranks[0], frozenset({OUT}): ranks[2]}

    def rank(t: Tree) -> int:
        side = frozenset(modes(t))
        if len(side) == 2:
            return ranks[1]
        alone = side if len(side) == 1 else frozenset(range(4)) - side
        return known.get(alone) or w.shape[1 + min(alone)]

    return stage3_torch.ht(w, tuple(rank(t) for t in post_order(tree)[:-1]), tree, batch=1)


HT = HTScheme("ht")
