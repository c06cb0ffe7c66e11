"""Tell whether two accuracies differ by more than chance: on the same images where that was kept, else as samples."""

import base64
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest

from ..style import wilson

Z = 1.96


class Difference(NamedTuple):
    """Points of accuracy between two networks, their 95 % interval, and the p-value where the images are the same."""

    points: float
    low: float
    high: float
    p: float | None

    @property
    def chance(self) -> bool:
        """Whether it may be chance, at 5 %."""
        return self.p >= 0.05 if self.p is not None else self.low <= 0 <= self.high

    def words(self, images: int) -> str:
        """Say the interval, and by what test.

        >>> Difference(-0.3, -1.0, 0.4, 0.5).words(360)
        '95 % interval -1.0 to +0.4 points, McNemar p = 0.5, on the same 360 images'
        """
        interval = f"95 % interval {self.low:+.1f} to {self.high:+.1f} points"
        if self.p is None:
            return f"{interval}, as of two samples of {images:,} images"
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.2g}"
        return f"{interval}, McNemar {p}, on the same {images:,} images"


def packed(right: Any) -> str:
    """Return which of n images a network has right, bit for bit, as a text for JSON."""
    return base64.b64encode(np.packbits(np.asarray(right, dtype=bool)).tobytes()).decode()


def unpacked(text: str, images: int) -> np.ndarray:
    """Return what `packed` wrote.

    >>> unpacked(packed([True, False, True]), 3).tolist()
    [True, False, True]
    """
    return np.unpackbits(np.frombuffer(base64.b64decode(text), dtype=np.uint8), count=images).astype(bool)


def difference(
    network: Mapping[str, Any], other: Mapping[str, Any], images: int, right: tuple[str, str] | None
) -> Difference:
    """Compare two rows of results; `right`: which images each has right, if it is known of both.

    Paired: the exact test of McNemar 1947 and the interval of Agresti & Min 2005.  Else the interval of two independent
    samples (Newcombe 1998, method 10), which is the wider one.
    """
    if right is None:
        return _independent(network["top1"], other["top1"], images)
    ours, theirs = (unpacked(text, images) for text in right)
    gained, lost = int((ours & ~theirs).sum()), int((~ours & theirs).sum())
    p = float(binomtest(min(gained, lost), gained + lost).pvalue) if gained + lost else 1.0
    b, c, n = gained + 0.5, lost + 0.5, images + 2
    middle, half = (b - c) / n, Z * (b + c - (b - c) ** 2 / n) ** 0.5 / n
    return Difference(100 * (gained - lost) / images, 100 * (middle - half), 100 * (middle + half), p)


def _independent(first: float, second: float, images: int) -> Difference:
    (low, high), (low2, high2) = wilson(first, images), wilson(second, images)
    points = first - second
    down = ((first - low) ** 2 + (high2 - second) ** 2) ** 0.5
    up = ((high - first) ** 2 + (second - low2) ** 2) ** 0.5
    return Difference(points, points - down, points + up, None)
