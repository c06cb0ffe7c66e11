"""The cells of the conformance table: built, compared with the dense layer, put into words."""

import math
from typing import NamedTuple

import torch

from layers import fold

from ..lab.reporting.tables import Table, markdown
from .kinds import KINDS, Kind
from .rows import EXACT, ROWS, dense


class Cell(NamedTuple):
    """One kind of layer for one row: why it is refused, or the error in float64; `ok` is what the tests ask."""

    refusal: str | None
    error: float
    ok: bool


def cell(kind: Kind, row: str) -> Cell:
    """Compare a layer of full rank with the dense one, and its folded layer too."""
    worst, ok = 0.0, True
    for dtype, bound in EXACT.items():
        layer, x = dense(row, dtype)
        if refused := kind.refusal(layer):
            return Cell(refused, math.nan, True)
        small = kind.build(layer).eval()
        with torch.no_grad():
            want = kind.want(layer, small, x)
            outputs = [small(x), small(x.contiguous(memory_format=torch.channels_last))]
            outputs += [fold(small)(x)] if kind.folds else []
            error = max(float((got - want).abs().max() / want.abs().max()) for got in outputs)
        ok = ok and error <= bound and all(got.dtype == want.dtype for got in outputs)
        worst = error if dtype == torch.float64 else worst
    return Cell(None, worst, ok)


def bound(error: float) -> str:
    """Return the power of ten above the error, at least 1e-14: the last digits differ between machines."""
    return f"1e-{min(14, math.floor(-math.log10(error)) if error else 14)}"


def table() -> tuple[str, str, bool]:
    """Build every cell: (a table for each group of kinds, with its reasons; how many pass; whether one fails)."""
    cells = {
        (group, row, name): cell(kind, row)
        for group, kinds in KINDS.items()
        for row in ROWS
        for name, kind in kinds.items()
    }
    reasons = list(dict.fromkeys(c.refusal for c in cells.values() if c.refusal))
    letters = {reason: chr(ord("a") + number) for number, reason in enumerate(reasons)}

    def words(c: Cell) -> str:
        return letters[c.refusal] if c.refusal else bound(c.error) if c.ok else "FAILS"

    text = ""
    for group, kinds in KINDS.items():
        lines = [[row, *(words(cells[group, row, name]) for name in kinds)] for row in ROWS]
        text += markdown(Table([group, *kinds], lines, 1 + len(kinds))) + "\n"
    text += "".join(f"- {letters[reason]}: {reason}\n" for reason in reasons)
    refused, failed = sum(c.refusal is not None for c in cells.values()), sum(not c.ok for c in cells.values())
    return text, f"{len(cells) - refused - failed} cells pass, {refused} are refused, {failed} fail.", failed > 0
