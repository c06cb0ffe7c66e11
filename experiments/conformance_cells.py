"""The cells of the conformance table: built, compared with the dense layer, put into words."""

import math
from typing import NamedTuple

import torch

from layers import METHODS, fold

from .conformance_rows import EXACT, ROWS, dense


class Cell(NamedTuple):
    """One kernel for one row: why it is refused, or the error in float64; `ok` is what the tests ask."""

    refusal: str | None
    error: float
    ok: bool


def cell(kernel: str, row: str) -> Cell:
    """Full rank against dense; folded too, which for factored layers changes nothing."""
    method, worst, ok = METHODS[kernel], 0.0, True
    for dtype, bound in EXACT.items():
        layer, x = dense(row, dtype)
        if refused := method.refusal(layer):
            return Cell(refused, math.nan, True)
        small = method.build(layer, method.candidates(layer)[-1].spec).eval()
        with torch.no_grad():
            want = layer(x)
            outputs = [small(x), small(x.contiguous(memory_format=torch.channels_last)), fold(small)(x)]
            error = max(float((got - want).abs().max() / want.abs().max()) for got in outputs)
        ok = ok and error <= bound and all(got.dtype == dtype for got in outputs)
        worst = error if dtype == torch.float64 else worst
    return Cell(None, worst, ok)


def bound(error: float) -> str:
    """The power of ten above the error, at least 1e-14: the last digits differ between machines."""
    return f"1e-{min(14, math.floor(-math.log10(error)) if error else 14)}"


def table() -> tuple[str, str, bool]:
    """(the table and its reasons, a sentence that counts the cells, whether a cell fails)."""
    cells = {(row, kernel): cell(kernel, row) for row in ROWS for kernel in METHODS}
    reasons = list(dict.fromkeys(c.refusal for c in cells.values() if c.refusal))
    letters = {reason: chr(ord("a") + number) for number, reason in enumerate(reasons)}

    def words(c: Cell) -> str:
        return letters[c.refusal] if c.refusal else bound(c.error) if c.ok else "FAILS"

    lines = [["option", *METHODS], ["---", *("---" for _ in METHODS)]]
    lines += [[row, *(words(cells[row, kernel]) for kernel in METHODS)] for row in ROWS]
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    text += "\n" + "".join(f"- {letters[reason]}: {reason}\n" for reason in reasons)
    refused, failed = sum(c.refusal is not None for c in cells.values()), sum(not c.ok for c in cells.values())
    return text, f"{len(cells) - refused - failed} cells pass, {refused} are refused, {failed} fail.", failed > 0
