"""Numbers for readers: one unit for a whole column, no more digits than say something, exponents only for monsters."""

import math
from collections.abc import Iterable
from typing import NamedTuple


class Unit(NamedTuple):
    """A unit's sign and what one of it is."""

    sign: str
    size: float


LONG = 10  # characters; what needs more has an exponent, so that a column is never wider than a terminal
PLAIN = (Unit("", 1),)
COUNTS = (Unit("", 1), Unit("k", 1e3), Unit("M", 1e6), Unit("G", 1e9), Unit("T", 1e12), Unit("P", 1e15))
BYTES = (Unit("B", 1), Unit("kB", 1e3), Unit("MB", 1e6), Unit("GB", 1e9), Unit("TB", 1e12))
SECONDS = (Unit("s", 1), Unit("ms", 1e-3), Unit("µs", 1e-6), Unit("ns", 1e-9))


def unit_of(values: Iterable[float], units: tuple[Unit, ...]) -> Unit:
    """Return the unit of a column: the largest in which its largest number is at least 1; the first for zeros alone."""
    top = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if top == 0:
        return units[0]
    return max((unit for unit in units if unit.size <= top), default=min(units, key=_size), key=_size)


def _size(unit: Unit) -> float:
    return unit.size


def brief(text: str, value: float, sign: str = "") -> str:
    """Return the text of a number, or three digits and an exponent where it is long; `sign`: "+" with either sign.

    >>> brief("0.021", 0.021), brief("100000000000.000", 1e11), brief("+2e9", 2e9, "+")
    ('0.021', '1e+11', '+2e9')
    """
    return text if len(text) <= LONG else f"{value:{sign}.3g}"


def digits(value: float, significant: int = 4) -> str:
    """Write the number with so many significant digits, but all before the point and no zeros at its end.

    >>> digits(61.706), digits(12345.6), digits(0.00123456), digits(8.0), digits(1.5e30)
    ('61.71', '12346', '0.001235', '8', '1.5e+30')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    decimals = max(0, significant - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{decimals}f}"
    return brief(text.rstrip("0").rstrip(".") if "." in text else text, value)


def with_unit(value: float, units: tuple[Unit, ...]) -> str:
    """Write a number that stands alone, with its unit.

    >>> with_unit(0.0042, SECONDS), with_unit(0.0, SECONDS), with_unit(61706, COUNTS)
    ('4.2 ms', '0 s', '61.71 k')
    """
    unit = unit_of([value], units)
    return f"{digits(value / unit.size)} {unit.sign}".rstrip()


def counted(number: int, noun: str) -> str:
    """Write a number of things.

    >>> counted(1, "run"), counted(1200, "run")
    ('1 run', '1,200 runs')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def percent(share: float) -> str:
    """Write a share for a sentence, with a space that does not break.

    >>> percent(0.482)
    '48\\xa0%'
    """
    return f"{100 * share:.0f}\u00a0%"
