"""The manifest of the thesis, thesis/runs.toml: every experiment, its commands, what it is for, seeds and needs."""

import difflib
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from string import Template
from typing import Any

from braceexpand import UnbalancedBracesError, braceexpand  # type: ignore[attr-defined]  # its stubs lack the error

from checks import require

from .metrics import THESIS

MANIFEST = THESIS / "runs.toml"
NEEDS = {"gpu": "a GPU", "data": "images and checkpoints"}
PLACES = {"DATA": "a folder of data sets", "CHECKPOINTS": "a folder of checkpoints"}


@dataclass(frozen=True)
class Entry:
    """An experiment.

    Args:
        name: of its table in the manifest and of its file in thesis/results/.
        purpose: the question that it answers, a sentence.
        commands: `run --model ...`, each after `python -m experiments.`, without seed and folder of results; $DATA and
            $CHECKPOINTS stand for folders that the reader names, and braces in a list of steps for several lists.
        seeds: each command is carried out with each of them.
        needs: gpu, data.
        quick: it belongs to the slice that takes a quarter of an hour in all.
        threads: of the CPU.
    """

    name: str
    purpose: str
    commands: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    needs: tuple[str, ...] = ()
    quick: bool = False
    threads: int = 1

    def __post_init__(self) -> None:
        where, lists = f"{MANIFEST.name}: {self.name}", ("commands", "seeds", "needs")
        for name in lists:
            require(isinstance(getattr(self, name), list | tuple), f"{where}.{name}", getattr(self, name), "a list")
            object.__setattr__(self, name, tuple(getattr(self, name)))
        require(bool(self.commands), f"{where}.commands", (), "one or more")
        require(bool(self.seeds) and len(set(self.seeds)) == len(self.seeds), f"{where}.seeds", self.seeds, "distinct")
        require(set(self.needs) <= set(NEEDS), f"{where}.needs", self.needs, f"of {', '.join(NEEDS)}")
        placed = any(f"${place}" in command for command in self.commands for place in PLACES)
        require(
            placed == ("data" in self.needs), f"{where}.needs", self.needs, "data where a command has $DATA, or not"
        )


def manifest(path: Path = MANIFEST) -> dict[str, Entry]:
    """Return name -> experiment, in the order of the file; ValueError names the entry and the key that is wrong."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"manifest must be a TOML file that can be read, got {path} ({error})") from None
    return {name: _entry(path, name, table) for name, table in tables.items()}


def _entry(path: Path, name: str, table: Any) -> Entry:
    require(isinstance(table, dict), f"{path.name}: {name}", table, f"a table, [{name}]")
    keys = {option.name: option.default is MISSING for option in fields(Entry) if option.name != "name"}
    for key in table:
        near = difflib.get_close_matches(key, keys, 1, 0.0)[0]
        require(key in keys, f"{path.name}: {name}", key, f"{near!r}, or another of {', '.join(keys)}")
    for key, asked in keys.items():
        require(key in table or not asked, f"{path.name}: {name}.{key}", None, "given")
    return Entry(name, **table)


def chosen(names: Iterable[str], entries: Mapping[str, Entry]) -> list[Entry]:
    """Return the entries of these names; ValueError names the nearest one for a name that is none."""
    for name in names:
        near = difflib.get_close_matches(name, entries, 1, 0.0)
        others = f"{near[0]!r}, or another of {', '.join(entries)}" if near else "in the manifest, which is empty"
        require(name in entries, "experiment", name, others)
    return [entries[name] for name in dict.fromkeys(names)]


def words(command: str, places: Mapping[str, str] | None = None) -> list[str]:
    """Return the words of a command: its verb, then options, lists of steps written out, places put in.

    >>> words("run --data-root $DATA/mnist --compress 'svd macs={0.5,0.25}'", {"DATA": "/data"})
    ['run', '--data-root', '/data/mnist', '--compress', 'svd macs=0.5', 'svd macs=0.25']
    """
    found: list[str] = []
    for word in shlex.split(command):
        filled = word if places is None else Template(word).safe_substitute(places)
        try:
            found += braceexpand(filled) if " " in word else [filled]
        except UnbalancedBracesError:
            raise ValueError(f"steps must be lists whose braces are closed, got {word!r}") from None
    return found
