"""How many channels each group keeps: the same share of all, or what a budget of multiply-accumulates is best for."""

import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from checks import require

from ..costs import Trace
from .coupled import Coupled
from .removal import Path


def multiple(width: int, round: int) -> int:
    """Return what the width that is left must divide by: `round`, halved until it is at most a quarter of the width."""
    while round > 1 and 4 * round > width:
        round //= 2
    return round


def allowed(coupled: Coupled, round: int) -> list[int]:
    """List how many units may be left, falling from all: those that give every layer's width a multiple."""
    width = len(coupled.channels(range(coupled.units)))
    step = multiple(width, round)
    step //= math.gcd(step, width // coupled.units)
    return [coupled.units, *(n for n in range(coupled.units - 1, 0, -1) if n % step == 0)]


def by_share(groups: Sequence[Coupled], fraction: float, round: int) -> list[int]:
    """Return how many units each group loses: the width left is the multiple nearest to what the share leaves.

    ValueError for a share that leaves a layer none.
    """
    lost = []
    for coupled in groups:
        left = math.floor(coupled.units * (1 - fraction) + 1e-6)  # of 10 * (1 - 0.9), which is below 1, one
        width = len(coupled.channels(range(coupled.units)))
        small = f"small enough to leave layer {coupled.root!r} one of its {width}"
        require(left > 0, "share of channels to take out", fraction, small)
        nearest = min(allowed(coupled, round), key=lambda units: (abs(units - left), units))
        lost.append(coupled.units - nearest)
    return lost


def by_macs(
    model: nn.Module, groups: Sequence[Coupled], paths: Sequence[Path], traced: Trace, macs: float, round: int
) -> list[int]:
    """Return how many units each group loses until `macs` of the multiply-accumulates are left.

    Greedily: the next units are those of the least score for each multiply-accumulate that goes with them, along each
    group's lower convex hull; the last step goes only as far as it must.  ValueError where too much is asked.
    """
    count = Count(model, groups, traced)
    steps = [[g.units - left for left in allowed(g, round)] for g in groups]
    hulls = [_hull(at, path.lost) for at, path in zip(steps, paths)]
    lost, left, target = [0] * len(groups), count.macs([0] * len(groups)), macs * traced.macs
    while left > target:
        following = []
        for at, path in enumerate(paths):
            to = next((n for n in hulls[at] if n > lost[at]), None)
            if to is not None:
                less = left - count.macs([*lost[:at], to, *lost[at + 1 :]])
                following.append(((path.lost[to] - path.lost[lost[at]]) / less, at, to))
        least = f"at least {left / traced.macs:.3f}: then each layer has the fewest channels that it may have"
        require(bool(following), "macs", macs, least)
        _, at, to = min(following)
        for n in steps[at]:  # rising
            if lost[at] < n <= to:
                left = count.macs([*lost[:at], n, *lost[at + 1 :]])
                if left <= target or n == to:
                    lost[at] = n
                    break
    return lost


class Count:
    """The multiply-accumulates of a network of which groups have lost units."""

    def __init__(self, model: nn.Module, groups: Sequence[Coupled], traced: Trace) -> None:
        self.rest, self.layers = traced.elsewhere, []
        for name, calls in traced.calls.items():
            layer: Any = model.get_submodule(name)
            linear = isinstance(layer, nn.Linear)
            sizes = (layer.out_features, layer.in_features) if linear else (layer.out_channels, layer.in_channels)
            parts = [
                [(at, len(side[name][0]) / size) for at, side in enumerate(sides) if name in side]
                for sides, size in zip(([g.written for g in groups], [g.read for g in groups]), sizes)
            ]
            self.layers.append((sum(call.macs for call in calls), parts))

    def macs(self, lost: Sequence[int]) -> float:
        """Count what is left without so many units of each group."""
        return self.rest + sum(
            macs * math.prod(1 - sum(part * lost[at] for at, part in side) for side in sides)
            for macs, sides in self.layers
        )


def _hull(places: Sequence[int], lost: Sequence[float]) -> list[int]:
    """List the places, rising from 0, at which the lower convex hull of what is lost there has its corners."""
    corners: list[int] = []
    for place in places:
        while len(corners) > 1:
            a, b = corners[-2:]
            if (lost[b] - lost[a]) * (place - a) < (lost[place] - lost[a]) * (b - a):
                break
            corners.pop()
        corners.append(place)
    return corners
