"""One form of a layer, and the checks that the specs of all kernels share."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from checks import require

from ..costs import Cost

Spec = Mapping[str, Any]  # ints, floats, strings and lists: it is written into plans


class Form(NamedTuple):
    """One form that a layer can take, from what a kernel offers to what a plan chooses.

    A kernel names `spec` and, as `error`, the part of |W|^2 that is lost; a selector's judge puts its own error, or its
    level, in the place; the planner adds cost and price.
    """

    kernel: str | None  # None: the dense layer itself
    spec: Spec
    cost: Cost = Cost(0, 0, 0)
    price: float = 0.0  # in the unit of the budget: a field of the cost, or seconds
    error: float = 0.0  # what the selector minimises
    level: float = 1.0  # from which level of a selector on, if it chooses by one


def check_keys(spec: Any, *needed: str, optional: Sequence[str] = ()) -> None:
    """Refuse what is no mapping, lacks a needed key or has an unknown one."""
    keys = " and ".join(needed) + (f", with or without {', '.join(optional)}" if optional else "")
    require(isinstance(spec, Mapping), "spec", spec, f"a table of {keys}")
    fits = set(needed) <= set(spec) <= {*needed, *optional}
    require(fits, "keys of the spec", sorted(map(str, spec)), f"exactly {keys}")


def is_count(value: object, most: int) -> bool:
    """Tell whether a value is an integer from 1 to `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def check_count(value: object, name: str, most: int) -> None:
    """Refuse all but an integer from 1 to `most`."""
    require(is_count(value, most), name, value, f"1 to {most}")


def check_counts(values: object, name: str, **most: int) -> None:
    """Refuse all but a list of one integer, from 1, for each name."""
    fits = isinstance(values, list | tuple) and len(values) == len(most) and all(map(is_count, values, most.values()))
    require(fits, name, values, f"[{', '.join(f'{part} 1 to {largest}' for part, largest in most.items())}]")


def check_word(value: object, name: str, words: Sequence[str]) -> None:
    """Refuse all but one of the words."""
    require(value in words, name, value, f"one of {', '.join(words)}")
