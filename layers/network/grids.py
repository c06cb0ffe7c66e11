"""Find the grid that a weight lies on: whole numbers times a scale, to the last bit."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

MOST = 255  # the largest whole number that is looked for
LARGEST, SPREAD = 8, 56  # numbers of a row that nearly always tell whether it has a grid
ULPS = 4  # on each side of its first guess among which a scale is looked for


class Grid(NamedTuple):
    """scale (low + stride levels); levels (n,) from 0 to 255, scale (rows,), or (1,) for all rows."""

    levels: Tensor
    scale: Tensor
    low: int
    stride: int


def grids_of(weight: Tensor) -> Iterator[Grid]:
    """Find one grid for the whole weight (rows, ...), and one with a scale for each row; of 256 levels at most.

    A scale is the largest number over a whole one, the least with which all numbers are whole ones.

    Example:
        >>> next(grids_of(torch.tensor([[0.25, -0.5], [1.0, 0.75]])))
        Grid(levels=tensor([3, 0, 6, 5], dtype=torch.uint8), scale=tensor([0.2500]), low=-2, stride=1)
    """
    if weight.numel() and bool(weight.isfinite().all()):
        grids = _of_rows(weight.reshape(1, -1)), _of_rows(weight.flatten(1))
        yield from (grid for grid in grids if grid is not None)


def _of_rows(rows: Tensor) -> Grid | None:
    largest = rows.abs().amax(1, keepdim=True).double()
    largest = torch.where(largest > 0, largest, 1)
    eps = torch.finfo(rows.dtype).eps
    possible = _possible(_few(rows).double() / largest, eps)
    if not bool(possible.any(1).all()):
        return None  # before all numbers are copied in float64: of most weights it is so
    shares = rows.double() / largest
    most = _whole(shares, possible, eps)
    if most is None:
        return None
    steps = (shares * most[:, None]).round()
    scale = _scale(rows, steps, largest[:, 0] / most)
    if scale is None:
        return None
    low = int(steps.min())
    stride = math.gcd(*(steps - low).unique().long().tolist()) or 1
    levels = (steps - low) / stride
    if float(levels.max()) > MOST:
        return None
    return Grid(levels.flatten().to(torch.uint8), scale, low, stride)


def _few(rows: Tensor) -> Tensor:
    """Some numbers of each row: the largest, which many whole ones fit where they are alike, and some of all places."""
    size = rows.shape[1]
    spread = torch.arange(0, size, max(1, size // SPREAD))
    return torch.cat([rows.gather(1, rows.abs().topk(min(LARGEST, size), 1).indices), rows[:, spread]], 1)


def _numbers() -> Tensor:
    return torch.arange(1.0, MOST + 1, dtype=torch.float64)


def _near(shares: Tensor, number: Tensor, eps: float) -> Tensor:
    """Whether all of the last axis, times the number, are whole ones."""
    quotients = shares * number
    return ((quotients - quotients.round()).abs() <= 2 * eps * number).all(-1)


def _possible(few: Tensor, eps: float) -> Tensor:
    """(rows, MOST): with which numbers a few shares of each row are whole ones."""
    return torch.cat([_near(part[:, None], _numbers()[:, None], eps) for part in few.split(256)])


def _whole(shares: Tensor, possible: Tensor, eps: float) -> Tensor | None:
    """For each row the least number, to MOST, with which its shares of its largest number are whole ones; or None."""
    found = torch.zeros(len(shares), dtype=torch.float64)
    for number, rows in zip(_numbers(), possible.T):
        if not bool((found == 0).any()):
            break
        if len(untold := (rows & (found == 0)).nonzero()[:, 0]):
            found[untold[_near(shares[untold], number, eps)]] = number
    return found if bool((found > 0).all()) else None


def _scale(rows: Tensor, steps: Tensor, guess: Tensor) -> Tensor | None:
    """A number of the rows' dtype for each row with which steps x scale are the row's numbers; or None."""
    first = guess.to(rows.dtype)
    chosen, untold = first.clone(), torch.ones(len(rows), dtype=torch.bool)
    for up in sorted(range(-ULPS, ULPS + 1), key=abs) if rows.element_size() > 2 else (0,):
        scale = first
        for _ in range(abs(up)):
            scale = torch.nextafter(scale, torch.full_like(scale, math.inf if up > 0 else 0))
        same = untold & ((steps * scale.double()[:, None]).to(rows.dtype) == rows).all(1)
        chosen, untold = torch.where(same, scale, chosen), untold & ~same
        if not bool(untold.any()):
            return chosen
    return None
