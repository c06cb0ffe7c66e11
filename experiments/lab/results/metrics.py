"""Measured quantities: title, unit and digits of each, from thesis/metrics.toml, which the text reads as well."""

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

from checks import require

THESIS = Path(__file__).parents[3] / "thesis"


class Metric(NamedTuple):
    """How a quantity is written: `88.28 %` has 2 decimals and the unit %."""

    title: str
    unit: str
    decimals: int
    better: Literal["higher", "lower"]

    @property
    def heading(self) -> str:
        """Return title and unit, as a table and an axis have them."""
        return f"{self.title}, {self.unit}" if self.unit else self.title

    def words(self, mean: float, std: float | None = None) -> str:
        """Write a mean, and after ± a standard deviation where there is one.

        >>> Metric("top-1", "%", 2, "higher").words(88.284, 0.117), Metric("MACs", "", 0, "lower").words(40551040.0)
        ('88.28 ± 0.12', '40,551,040')
        """
        spread = "" if std is None else f" ± {std:,.{self.decimals}f}"
        return f"{mean:,.{self.decimals}f}{spread}"


@cache
def metrics() -> Mapping[str, Metric]:
    """Return name -> quantity, in the order of the file; ValueError for one that lacks something."""
    path = THESIS / "metrics.toml"
    found = tomllib.loads(path.read_text(encoding="utf-8"))
    for name, given in found.items():
        require(set(given) == set(Metric._fields), f"{path.name}: {name}", sorted(given), ", ".join(Metric._fields))
    return {name: Metric(**given) for name, given in found.items()}
