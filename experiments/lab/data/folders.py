"""Images in folders named after their class: one's own, Caltech-UCSD Birds, ImageNet."""

import os
from pathlib import Path

import numpy as np
import torch
from torchvision.datasets.folder import find_classes, make_dataset

from checks import require

from ..config import Data
from .dataset import IMAGENET, Dataset, Split, check_classes, divide, existing
from .images import EXTENSIONS, decode
from .shards import shards
from .stream import SMALL, Files, Reader, Stream, Views

MEMORY = 2**30  # bytes of images that a split may hold in memory


def classes_of(root: Path) -> list[str]:
    """Names of the class folders, sorted."""
    try:
        return find_classes(root)[0]
    except FileNotFoundError:
        raise ValueError(f"data root must have one folder of images per class in {root}, got none") from None


def files(root: Path, classes: list[str]) -> Stream:
    """All images below CLASS/ of the root, as stored; ValueError names a class without images."""
    mine = classes_of(root)
    require(mine == classes, f"classes in {root}", mine, f"those of train: {classes}")
    found = make_dataset(root, {name: i for i, name in enumerate(classes)}, EXTENSIONS, allow_empty=True)
    labels = torch.tensor([label for _, label in found], dtype=torch.int64)
    check_classes(labels, classes, str(root))
    paths = Files(root, (os.path.relpath(path, root) for path, _ in found))
    return Stream(paths, np.arange(len(found)), labels, None)


def in_memory(stream: Stream) -> Split:
    """Every image, decoded once a run: 50,000 JPEGs of 32 pixels take a core 9 s, so nothing is cached."""
    n = len(stream.labels)
    plan = [[(place, 0) for place in range(first, min(first + 500, n))] for first in range(0, n, 500)]
    views = Views(stream, train=False, flip=False)
    workers = stream.workers if n > 5000 else 0  # few are read before a process has started
    images = [batch.images for batch in Reader(views, plan, workers, pin=False, keep=False)]
    shapes = sorted({tuple(batch.shape[2:]) for batch in images})
    require(len(shapes) == 1, "images", shapes[:3], "of one size; pass --image-size")
    return Split(torch.cat(images), stream.labels)


def held(stream: Stream, data: Data) -> Split | Stream:
    """In memory if the images are small and not too many, else a stream of views of the image size."""
    path, content = stream.source.read(int(stream.chosen[0]))
    width, height = decode(path, content)[0].size
    side = data.image_size or max(width, height)
    sized = stream._replace(size=data.image_size, workers=data.workers)
    if side <= SMALL and 3 * side**2 * len(stream.labels) <= MEMORY:
        return in_memory(sized)
    allowed = f"given for images of more than {SMALL} pixels or {MEMORY >> 30} GiB: pass --image-size"
    require(data.image_size is not None, "image size", f"{path} of {width} x {height} pixels", allowed)
    return sized


def inner(root: Path) -> Path:
    """The root, or the one folder in it, as an archive unpacks."""
    folders = [path for path in sorted(root.iterdir()) if path.is_dir()]
    known = ("train", "val", "test", "train_test_split.txt")
    alone = len(folders) == 1 and not any((root / name).exists() for name in known)
    return folders[0] if alone else root


def _table(path: Path) -> dict[str, str]:
    """Lines of a number and a value."""
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    require(all(len(row) == 2 for row in rows), "lines of", str(path), "a number and a value each")
    return dict(rows)


def _birds(root: Path) -> tuple[list[str], dict[str, Stream]]:
    """Caltech-UCSD Birds 200-2011 as it unpacks (Wah et al. 2011): images/CLASS/FILE and which of them are to train."""
    classes, listed = classes_of(root / "images"), _table(root / "images.txt")
    to_train = _table(root / "train_test_split.txt")
    lacking = sorted(listed.keys() ^ to_train.keys())
    require(not lacking, f"numbers in {root}", lacking[:3], "in images.txt and in train_test_split.txt alike")
    training = {path: to_train[number] == "1" for number, path in listed.items()}
    found = files(root / "images", classes)
    assert isinstance(found.source, Files)
    paths = [Path(os.fsdecode(path)).as_posix() for path in found.source.paths]
    unlisted = [path for path in paths if path not in training]
    require(not unlisted, f"images in {root}", unlisted[:3], "listed in images.txt")
    missing = sorted(training.keys() - set(paths))
    require(not missing, f"images of images.txt in {root}", missing[:3], "below images/, none of them missing")
    chosen = np.array([training[path] for path in paths])
    return classes, {"train": found.part(np.flatnonzero(chosen)), "test": found.part(np.flatnonzero(~chosen))}


def folder(data: Data, seed: int) -> Dataset:
    """Images as train/CLASS/FILE and test/CLASS/FILE, or below one more folder; or tar shards.

    val/ is the validation set if it and test/ exist, else a tenth of train/ is; a lone val/ is the test set.  Without
    train/, CLASS/FILE is divided by seed, and Caltech-UCSD Birds by its own list.
    """
    if data.data_root is not None and data.data_root.suffix == ".tar":
        return shards(data, seed)
    root = inner(existing(data))
    there = [part for part in ("train", "val", "test") if (root / part).is_dir()]
    streams: dict[str, Stream] = {}
    if (root / "train_test_split.txt").is_file() and (root / "images").is_dir():
        classes, streams = _birds(root)
        there = list(streams)
    elif not there and len(folders := [path for path in root.iterdir() if path.is_dir()]) > 1:
        classes, there = sorted(path.name for path in folders), ["all"]
    else:
        expected = "a folder with images as train/CLASS/FILE and test/CLASS/FILE"
        require({"train"} < set(there), "data root", str(root), expected)
        classes = classes_of(root / "train")

    def get(part: str) -> Split | Stream:
        where = root if part == "all" else root / part
        return held(streams[part] if part in streams else files(where, classes), data)

    train, val, test = divide(get, there, classes, 0.1, seed)
    return Dataset(train, val, test, classes, *IMAGENET, epochs=30, shift=4, flip=True)
