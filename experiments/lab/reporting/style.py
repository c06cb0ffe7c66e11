"""What all tables and figures share: colours, numbers with units, intervals."""

import math

COLOURS = ["#222222", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]  # Wong 2011


def short(number: float) -> str:
    """Four digits and a unit: 61.71 k."""
    power = min(3, int(math.log10(max(number, 1))) // 3)
    return f"{number / 1000**power:.4g}{('', ' k', ' M', ' G')[power]}"


def wilson(percent: float, n: int) -> tuple[float, float]:
    """95 % interval of an accuracy measured on n images, in percent (Wilson 1927)."""
    z, p = 1.96, percent / 100
    centre, half = p + z * z / (2 * n), z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5
    return 100 * (centre - half) / (1 + z * z / n), 100 * (centre + half) / (1 + z * z / n)
