"""The table that `experiments.conformance` writes, read back."""

import re
from pathlib import Path

from experiments.conformance.kinds import KINDS

COMMITTED = Path(__file__).parents[2] / "docs" / "results" / "conformance.md"


def cells(text):
    """(group, row, kind) -> the bound that the cell meets, or why it is refused."""
    reasons = dict(re.findall(r"^- (\w): (.*)$", text, re.MULTILINE))
    table = {}
    for line in (line for line in text.splitlines() if line.startswith("|")):
        first, *words = (part.strip() for part in line.split("|")[1:-1])
        if first in KINDS:
            group, names = first, words
        elif set(first) != {"-"}:
            table |= {(group, first, name): reasons.get(word, word) for name, word in zip(names, words)}
    return table
