"""What a method may be told about one layer: specs, the limits of their values, and grids of ranks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from checks import need
from stage3_torch.tensor import syrk

Spec = Mapping[str, Any]  # ints, floats, strings and lists: it is written into plans


class Candidate(NamedTuple):
    """One compressed form of a layer: the arguments of `build`, and the part of |W|^2 it keeps."""

    spec: Spec
    energy: float


class Limit(NamedTuple):
    """What one value of a spec may be, in words and as a predicate."""

    allowed: str
    holds: Callable[[Any], bool]
    optional: bool = False  # whether a spec may lack it


Limits = Mapping[str, Limit]  # key of the spec -> its limit; a spec has no other keys


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def count(most: int) -> Limit:
    """An integer from 1."""
    return Limit(f"1 to {most}", lambda value: _is_count(value, most))


def counts(**most: int) -> Limit:
    """One integer from 1 for each name, in a list."""
    words = ", ".join(f"{name} 1 to {largest}" for name, largest in most.items())
    return Limit(
        f"[{words}]",
        lambda value: (
            isinstance(value, list | tuple) and len(value) == len(most) and all(map(_is_count, value, most.values()))
        ),
    )


def distinct(most: int) -> Limit:
    """A list of one or more different integers below `most`."""

    def holds(value: Any) -> bool:
        ok = isinstance(value, list | tuple) and all(isinstance(v, int) and 0 <= v < most for v in value)
        return ok and 0 < len(value) == len(set(value))

    return Limit(f"a list of different integers in 0 to {most - 1}", holds)


def one_of(names: Sequence[str]) -> Limit:
    """One of these words."""
    return Limit(f"one of {', '.join(names)}", lambda value: value in names)


def truth() -> Limit:
    """True or False."""
    return Limit("true or false", lambda value: isinstance(value, bool))


def check_spec(limits: Limits, spec: Any) -> None:
    """Refuse a spec with a missing or unknown key or an impossible value."""
    needed = [key for key, limit in limits.items() if not limit.optional]
    optional = [key for key in limits if key not in needed]
    keys = " and ".join(needed) + (f", with or without {', '.join(optional)}" if optional else "")
    need(isinstance(spec, Mapping), "spec", spec, f"a table of {keys}")
    ok = set(needed) <= set(spec) <= set(limits)
    need(ok, "keys of the spec", sorted(map(str, spec)), f"exactly {keys}")
    for key, value in spec.items():
        need(limits[key].holds(value), key, value, limits[key].allowed)


def rounded(rank: int, multiple: int, most: int) -> int:
    """The rank rounded up to a multiple, but at most the full one."""
    return min(-(-rank // multiple) * multiple, most)


def grid(largest: int, multiple: int = 1, most: int = 128) -> list[int]:
    """At most `most` multiples, evenly spaced, ascending, and the largest.

    Finer steps than 1/128 of the ranks do not pay for planning time.
    """
    step = multiple * -(-largest // (multiple * most))
    return [*range(step, largest, step), largest]


def spectrum(matrices: Tensor) -> Tensor:
    """Squared singular values of (g, m, n), descending, summed over the first axis, in float64.

    Eigenvalues of the smaller Gram matrix: exact to rounding as squares, and many times faster than an SVD.
    """
    a = matrices.double()
    a = a if a.shape[-2] <= a.shape[-1] else a.mT
    return torch.linalg.eigvalsh(syrk(a)).clamp_min(0).sum(0).flip(-1)


def kept(squares: Tensor) -> Tensor:
    """The part of the energy in the first 1, 2, ..., all of the squared singular values, in float64."""
    sums = squares.double().clamp_min(0).cumsum(-1)
    return sums / sums[-1].clamp_min(torch.finfo(torch.float64).tiny)


def equal_energy(spectra: Sequence[Tensor], multiple: int = 1, most: int = 64) -> list[tuple[int, ...]]:
    """Ranks, one per spectrum of squared singular values, that keep equal parts of the energy of each; ascending.

    The steps are even in the ranks of the longest spectrum.  The last has full rank everywhere.
    """
    parts = [kept(squares) for squares in spectra]
    longest = max(parts, key=len)
    path = []
    for rank in grid(len(longest), multiple, most)[:-1]:
        found = [int((part < longest[rank - 1]).sum()) + 1 for part in parts]
        path.append(tuple(rounded(r, multiple, len(part)) for r, part in zip(found, parts)))
    return [*path, tuple(map(len, parts))]
