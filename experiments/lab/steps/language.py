"""The language of steps: `channels 0.3, spatial macs=0.6, finetune 3, half` read, written, and its order checked."""

import difflib
import hashlib
import re
import types
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from checks import require

from . import STEPS, Row
from .kernel import FACTORS, Kernel
from .state import Step, Steps
from .weights import Weights

LONGEST = 80  # characters of a row's name
ANSWERS = {"yes": True, "no": False}


def parse(text: str) -> Steps:
    """Read a list of steps; ValueError in one sentence for a step, an option or an order that cannot be."""
    steps = tuple(map(_parse_step, text.split(",")))
    check_order(steps)
    return steps


def written(step: Step) -> str:
    """Write a step as `parse` reads it, options at their defaults left out."""
    words = [] if isinstance(step, Kernel) else [name_of(step)]
    for option in _options(type(step)):
        value = getattr(step, option.name)
        if option.default is MISSING or (option.metadata.get("place") and value is not None):
            words.append(_number(value))
        elif value != option.default:
            named = option.name.replace("_", "-")
            short = value is True and option.default is False
            words.append(named if short else f"{named}={_number(value)}")
    return " ".join(words)


def row_name(steps: Steps) -> str:
    """Name the row and folder of a list: its words, of characters that every disk takes; long ones end in a hash."""
    text = ", ".join(map(written, steps))
    name = "-".join(re.findall(r"[\w.]+", re.sub(r"=(?=\d)", "", text)))  # macs=0.5 is macs0.5
    if len(name) <= LONGEST:
        return name
    return f"{name[:LONGEST]}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def row_of(step: Step) -> Row:
    """Return the row of STEPS that a step is of."""
    return next(row for row in STEPS.values() if row.step is type(step))


def name_of(step: Step) -> str:
    """Return a step's name in STEPS; `kernel` for all kernels, which stand in one another's place."""
    return next(name_of_row(name) for name, row in STEPS.items() if row.step is type(step))


def name_of_row(name: str) -> str:
    """Return the name in STEPS, but `kernel` for all kernels."""
    return "kernel" if STEPS[name].step is Kernel else name


def step_name(step: Step) -> str:
    """Return a step's name in STEPS; of a plan that is given, that."""
    return step.kernel if isinstance(step, Kernel) else name_of(step)


def check_order(steps: Steps) -> None:
    """Refuse steps that undo one another or cannot follow one another; the sentence has the right order."""
    for place, step in enumerate(steps):
        row = row_of(step)
        for before, earlier in enumerate(steps[:place]):
            why = "which nothing can follow" if row_of(earlier).last else row.never_after.get(name_of(earlier))
            if why is not None:
                got = ", ".join(map(written, steps))
                same = name_of(step) == name_of(earlier) or row.last  # nor can it come before
                better = (
                    [*steps[:place], *steps[place + 1 :]] if same else [*steps[:before], step, *steps[before:place]]
                )
                better = better if same else [*better, *steps[place + 1 :]]
                allowed = f"{', '.join(map(written, better))!r}, for {written(step)} cannot come after"
                require(False, "compress", got, f"{allowed} {written(earlier)}, {why}")
        if isinstance(step, Weights) and step.gradual:
            after = step_name(steps[place + 1]) if place + 1 < len(steps) else "nothing"
            require(after == "finetune", f"step after {written(step)}", after, "finetune, over whose epochs weights go")
        coded = [s for s in steps[:place] if isinstance(s, Kernel) and not s.factors]
        require(
            not row.factors or not coded, f"kernel before {written(step)}", *(coded[0].kernel if coded else "", FACTORS)
        )


def _parse_step(text: str) -> Step:
    name, *words = text.split() or [""]
    require(bool(name), "compress", "a list with an empty step", "steps between commas: 'svd macs=0.5, finetune 3'")
    near = difflib.get_close_matches(name, STEPS, 1, 0.0)
    require(name in STEPS, "step", name, f"{near[0]!r}, or another of {', '.join(STEPS)}" if near else "a name")
    kind = STEPS[name].step
    options, hints = {option.name: option for option in _options(kind)}, get_type_hints(kind)
    places = [key for key, option in options.items() if option.default is MISSING or option.metadata.get("place")]
    given: dict[str, Any] = {}
    if kind is Kernel:
        given[places.pop(0)] = name
    for word in words:
        key, equals, value = word.partition("=")
        key = key.replace("-", "_")
        if not equals and key not in options and places:
            place = places.pop(0)
            given[place] = _value(f"{place} of {name}", hints[place], word)
            continue
        own = [
            key for key, option in options.items() if option.default is not MISSING and "place" not in option.metadata
        ]
        _check_own(name, word, key, own)
        require(key not in given, f"option {key} of {name}", word, "given once")
        given[key] = _value(f"{key} of {name}", hints[key], value if equals else "yes")
    places = [key for key in places if options[key].default is MISSING]
    require(not places, f"step {name}", text.strip(), f"followed by its {' and '.join(places)}")
    step: Step = kind(**given)
    return step


def _check_own(name: str, word: str, key: str, own: Sequence[str]) -> None:
    """Refuse an option that the step does not have, and say whose it is, or which is near."""
    kinds = {name_of_row(n): row.step for n, row in STEPS.items()}
    others = [n for n, step in kinds.items() if any(option.name == key for option in _options(step))]
    near = difflib.get_close_matches(key, own, 1)
    has = f"one of {', '.join(option.replace('_', '-') for option in own)}" if own else "left out: it has none"
    hint = (
        f" ({word} is an option of {', '.join(others)})"
        if others
        else f": {near[0].replace('_', '-')}?"
        if near
        else ""
    )
    require(key in own, f"option of {name}", word, has + hint)


def _options(kind: type[Any]) -> list[Field[Any]]:
    """List the fields of a step that a user can give."""
    return [option for option in fields(kind) if not option.metadata.get("hidden")]


def _value(what: str, hint: Any, word: str) -> Any:
    """Read a word as what the field holds."""
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    kind = next(kind for kind in kinds if kind is not type(None))
    if get_origin(kind) is Literal:
        require(word in get_args(kind), what, word, f"one of {', '.join(get_args(kind))}")
        return word
    if kind is bool:
        require(word in ANSWERS, what, word, "yes or no")
        return ANSWERS[word]
    try:
        return kind(word)
    except ValueError:
        raise ValueError(f"{what} must be a{'n integer' if kind is int else ' number'}, got {word!r}") from None


def _number(value: object) -> str:
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)
