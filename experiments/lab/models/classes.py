"""The classes that a network tells apart, where the folders of images are named otherwise or are only some of them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from checks import require

IMAGENET = "imagenet"
FORMS = "a text file of a class a line, or FOLDER NUMBER a line; or JSON: a list, {FOLDER: NUMBER} or {NUMBER: NAMES}"


class Classes(NamedTuple):
    """Names of all outputs of a network, in their order, and which of them a folder's images are of."""

    names: list[str]
    outputs: dict[str, int]

    def of(self, folders: Sequence[str], source: str) -> dict[str, int]:
        """Return folder -> output; ValueError for a folder that is none of the classes, or two of one class."""
        unknown = [folder for folder in folders if folder not in self.outputs]
        known = f"among the {len(self.names)} classes of {source}"
        require(not unknown, "folders of images", unknown[:3], known)
        found = {folder: self.outputs[folder] for folder in folders}
        alike = [folder for folder in folders if list(found.values()).count(found[folder]) > 1]
        require(not alike, "folders of images", alike[:3], f"of a class each in {source}")
        return found


def read_classes(source: str) -> Classes:
    """Read a class list or a mapping from a file, or ImageNet's 1,000 names by the word `imagenet`.

    A line of a list may begin with the folder's name and go on with others, as "n01440764 tench, Tinca tinca"; JSON of
    numbers may name a class several times, as torchvision's {"0": ["n01440764", "tench"]}.  ValueError for what is none
    of these.
    """
    if source == IMAGENET:
        from torchvision.models import ResNet18_Weights  # here alone: no file names them otherwise

        return _listed([[name] for name in ResNet18_Weights.DEFAULT.meta["categories"]], source)
    path = Path(source)
    require(path.is_file(), "classes", source, f"imagenet, or {FORMS}")
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".json":
            return _of_json(json.loads(text), source)
    except ValueError as error:  # no JSON, or no text
        raise ValueError(f"classes must be {FORMS}, got {source!r} ({error})") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    require(bool(lines), "classes", source, f"{FORMS}, not empty")
    pairs = [line.replace(",", " ").rsplit(maxsplit=1) for line in lines]
    if all(len(pair) == 2 and pair[1].isdecimal() for pair in pairs):
        return _mapped({folder: int(number) for folder, number in pairs}, len(pairs), source)
    return _listed([[line, line.split()[0]] for line in lines], source)


def _of_json(data: Any, source: str) -> Classes:
    if isinstance(data, list) and data and all(isinstance(name, str) for name in data):
        return _listed([[name] for name in data], source)
    if isinstance(data, dict) and data and all(type(number) is int for number in data.values()):
        return _mapped(data, len(data), source)
    numbered = isinstance(data, dict) and sorted(map(str, range(len(data)))) == sorted(data) and bool(data)
    require(numbered, "classes", source, FORMS)
    rows = [data[str(number)] for number in range(len(data))]
    named = [[row] if isinstance(row, str) else row for row in rows]
    texts = all(isinstance(row, list) and row and all(isinstance(name, str) for name in row) for row in named)
    require(texts, "classes", source, FORMS)
    return _listed(named, source)


def _listed(rows: Sequence[Sequence[str]], source: str) -> Classes:
    """Number the rows; a name of two of them is none of either."""
    require(len(rows) > 1, "classes", source, "two or more, to tell apart")
    owners: dict[str, set[int]] = {}
    for number, row in enumerate(rows):
        for name in row:
            owners.setdefault(name, set()).add(number)
    return Classes([row[0] for row in rows], {name: min(its) for name, its in owners.items() if len(its) == 1})


def _mapped(numbers: dict[str, int], count: int, source: str) -> Classes:
    fits = len(numbers) == count and min(numbers.values()) >= 0
    require(fits, "classes", source, "of folders that are named once each, and numbers from 0")
    names = [str(number) for number in range(max(numbers.values()) + 1)]
    for folder, number in numbers.items():
        names[number] = folder
    require(len(names) > 1, "classes", source, "two or more, to tell apart")
    return Classes(names, numbers)
