"""What a method may be told about one layer: specs, the limits of their values, and grids of ranks."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from checks import require

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
    require(isinstance(spec, Mapping), "spec", spec, f"a table of {keys}")
    ok = set(needed) <= set(spec) <= set(limits)
    require(ok, "keys of the spec", sorted(map(str, spec)), f"exactly {keys}")
    for key, value in spec.items():
        require(limits[key].holds(value), key, value, limits[key].allowed)
