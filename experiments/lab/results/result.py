"""Results of one experiment: thesis/results/NAME.json, its numbers by row, level and metric, and how they came about.

row: name of the network (dense, svd, auto, spatial+finetune); level: its budget as written ("0.5"; "1" for dense) or
another condition in one word; metric: a name of thesis/metrics.toml.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from checks import require

from .metrics import THESIS, metrics

RESULTS, SCHEMA = THESIS / "results", 1
DIGEST = "digest"
KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("name", "purpose", "commit", "device", "date"), str),
    **dict.fromkeys(("command", "seeds"), list),
    **dict.fromkeys(("versions", "numbers", "series"), dict),
    "threads": int,
    "seconds": (int, float),
}


class Number(NamedTuple):
    """One measured quantity: a value for each seed, their mean and sample standard deviation (None of one value)."""

    values: tuple[float, ...]
    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Number":
        """Return mean and spread of values.

        >>> Number.of([1.0, 3.0]).mean, Number.of([1.0]).std
        (2.0, None)
        """
        return cls(tuple(values), fmean(values), stdev(values) if len(values) > 1 else None, len(values))


Numbers = dict[str, dict[str, dict[str, Number]]]


@dataclass(frozen=True)
class Result:
    """What an experiment of the manifest gave.

    Args:
        command: the lines of the manifest that made it, `run --model ...`, each after `python -m experiments.`.
        device: the GPU's name, or the CPU's.
        seconds: of the commands, however often they were interrupted.
        numbers: row -> level -> metric -> Number.
        series: row -> level -> name -> a list for each seed: curves by epoch, what the layers of a network got.
    """

    name: str
    command: tuple[str, ...]
    purpose: str
    commit: str
    device: str
    threads: int
    versions: Mapping[str, str]
    seeds: tuple[int, ...]
    date: str
    seconds: float
    numbers: Numbers
    series: Mapping[str, Mapping[str, Mapping[str, list[list[Any]]]]] = field(default_factory=dict)

    def number(self, row: str, level: str, metric: str) -> Number:
        """Return one number; ValueError names the first of the three that the file lacks."""
        found: Any = self.numbers
        for place, key in enumerate((row, level, metric)):
            path = ".".join(["numbers", row, level][: place + 1])
            require(key in found, f"{self.name}.json: {path}", key, f"one of {', '.join(found)}")
            found = found[key]
        return found

    def __iter__(self) -> Iterator[tuple[str, str, str, Number]]:
        """Yield (row, level, metric, number) of all numbers."""
        for row, levels in self.numbers.items():
            for level, found in levels.items():
                yield from ((row, level, metric, number) for metric, number in found.items())


def path_of(name: str) -> Path:
    """Return where the results of an experiment are."""
    return RESULTS / f"{name}.json"


def write(result: Result) -> Path:
    """Write the results, whole or not at all, with a digest by which a later change by hand is noticed."""
    from layers.network import write_text  # with torch, which those who only read need not wait for

    data = {"schema": SCHEMA} | {option.name: getattr(result, option.name) for option in fields(result)}
    data["numbers"] = {
        row: {level: {m: n._asdict() for m, n in found.items()} for level, found in levels.items()}
        for row, levels in result.numbers.items()
    }
    path = path_of(result.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, _text(data | {DIGEST: _digest(data)}))
    return path


def read(name: str) -> Result:
    """Read the results of an experiment; ValueError in one sentence, with file and field, for what is none."""
    return read_file(path_of(name))


def read_file(path: Path) -> Result:
    """Read a file of results; ValueError in one sentence, with file and field, for what is none."""
    again = f"python -m experiments.reproduce {path.stem} writes it"
    require(path.is_file(), f"results {path}", "none", f"there ({again})")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # no JSON, or no text
        raise ValueError(f"{path} must be whole, got no JSON ({error}): {again}") from None
    require(isinstance(data, dict), str(path), type(data).__name__, f"results of an experiment ({again})")
    schema = data.get("schema")
    require(schema == SCHEMA, f"{path}: schema", schema, f"{SCHEMA}, the layout of this version")
    for name, kind in KINDS.items():
        require(isinstance(data.get(name), kind), f"{path}: {name}", data.get(name), f"as {again}")
    require(data["name"] == path.stem, f"{path}: name", data["name"], f"{path.stem!r}, as the file's")
    digest = data.pop(DIGEST, None)
    require(digest == _digest(data), f"{path}: {DIGEST}", digest, f"that of its content, which nobody types: {again}")
    numbers = {
        row: {
            level: {metric: _number(path, f"numbers.{row}.{level}.{metric}", found) for metric, found in of.items()}
            for level, of in levels.items()
        }
        for row, levels in data["numbers"].items()
    }
    lists = {name: tuple(data[name]) for name in ("command", "seeds")}
    return Result(**{k: v for k, v in data.items() if k != "schema"} | lists | {"numbers": numbers})


def _number(path: Path, where: str, found: Any) -> Number:
    metric = where.rpartition(".")[2]
    require(metric in metrics(), f"{path}: {where}", metric, f"a name of metrics.toml: {', '.join(metrics())}")
    whole = isinstance(found, dict) and set(found) == set(Number._fields) and bool(found["values"])
    require(whole, f"{path}: {where}", found, f"{', '.join(Number._fields)}")
    return Number(**found)._replace(values=tuple(found["values"]))


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]


def _text(data: Any, depth: int = 0) -> str:
    """Return JSON with a line for each number, so that a difference shows what has changed."""
    deep = isinstance(data, dict) and data and set(data) != set(Number._fields)
    if not deep:
        return json.dumps(data)
    pad = " " * (depth + 1)
    lines = (f"{pad}{json.dumps(key)}: {_text(value, depth + 1)}" for key, value in data.items())
    return "{\n" + ",\n".join(lines) + f"\n{' ' * depth}}}" + ("\n" if depth == 0 else "")
