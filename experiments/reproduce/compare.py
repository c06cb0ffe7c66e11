"""Hold the numbers of an experiment that was carried out again against its record."""

from ..lab.results.metrics import metrics
from ..lab.results.result import Number, Result

TIMES = ("s", "ms")  # units of what no machine measures twice
SPREADS = 3.0  # standard deviations of the record that a number of another machine may be away


def differences(recorded: Result, again: Result) -> list[str]:
    """Say, a sentence each, which numbers are not those of the record; times are not compared.

    On the same kind of processor, with as many threads and the same torch, they are the same bits; elsewhere the mean
    lies within three standard deviations of the recorded one, where there is a spread.
    """
    alike = all(
        getattr(recorded, name) == getattr(again, name) for name in ("device", "threads", "seeds")
    ) and recorded.versions.get("torch") == again.versions.get("torch")
    found = []
    for row, level, metric, number in recorded:
        new = again.numbers.get(row, {}).get(level, {}).get(metric)
        if metrics()[metric].unit in TIMES or (new is not None and _same(number, new, alike)):
            continue
        words = "none" if new is None else f"{new.mean:.6g}"
        found.append(f"{recorded.name}: {row} {level} {metric} was {number.mean:.6g}, is {words}")
    return found


def _same(recorded: Number, new: Number, alike: bool) -> bool:
    if alike:
        return recorded.values == new.values
    return abs(recorded.mean - new.mean) <= SPREADS * (recorded.std or 0.0) or recorded.n == 1
