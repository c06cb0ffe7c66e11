"""Images in folders named after their class: one's own, Caltech-UCSD Birds, ImageNet."""

import logging
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from checks import require

from ..config import SMALL, Data
from ..models.classes import read_classes
from .dataset import IMAGENET, Dataset, Split, divide, existing
from .images import EXTENSIONS, decode, opens
from .preprocessing import Preprocessing, chosen, cut_from_the_middle, seen_whole
from .reader import Reader, Request
from .shards import shards
from .stream import Files, Stream

log = logging.getLogger(__name__)
MEMORY = 2**30  # bytes of images that a split may hold in memory


def subfolders(root: Path) -> list[Path]:
    """Return the folders in the root, sorted, without what programs leave there: .git, .ipynb_checkpoints, __MACOSX."""
    folders = (path for path in root.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX")
    return sorted(path for path in folders if path.is_dir())


def classes_of(root: Path) -> list[str]:
    """Return the names of the class folders, sorted; ValueError if there is none."""
    classes = [path.name for path in subfolders(root)]
    require(bool(classes), "data root", str(root), "a folder with one folder of images per class in it")
    return classes


def names_below(folder: Path) -> list[str]:
    """List the path, from the folder on, of every file below it but the hidden ones, folder by folder, each sorted.

    Links are followed, but not to a folder that they stand in.
    """
    walked = []
    ways: dict[str, tuple[str, ...]] = {str(folder): (os.path.realpath(folder),)}  # the real folders that lead to each
    for base, folders, names in os.walk(folder, followlinks=True):
        way = ways.pop(base)
        below = {name: os.path.realpath(os.path.join(base, name)) for name in folders if not name.startswith(".")}
        folders[:] = [name for name, real in below.items() if real not in way]  # a link to where it stands has no end
        ways |= {os.path.join(base, name): (*way, below[name]) for name in folders}
        walked.append((os.path.relpath(base, folder), names))
    paths = [(base, name) for base, names in sorted(walked) for name in sorted(names) if not name.startswith(".")]
    return [name if base == os.curdir else os.path.join(base, name) for base, name in paths]


def counted_endings(names: list[str]) -> str:
    """Count files by their endings: "4 .gif, 1 .txt, 1 without an ending"."""
    endings = Counter(Path(name).suffix.lower() or "without an ending" for name in names)
    return ", ".join(f"{count} {ending}" for ending, count in endings.most_common())


def files(root: Path, classes: list[str], like: str = "train", outputs: Mapping[str, int] | None = None) -> Stream:
    """List all images below CLASS/ of the root, as stored; ValueError names a class without images.

    The classes must be those of the part `like`; `outputs` says which of a network's outputs each of them is.  Hidden
    files and folders are passed over; of others that are no images by their ending it is said how many there are.
    """
    there = classes_of(root)
    require(there == classes, f"classes in {root}", there, f"those of {like}: {classes}")
    paths: list[str] = []
    labels: list[int] = []
    left_out: list[str] = []
    for number, name in enumerate(classes):
        label = number if outputs is None else outputs[name]
        below = [os.path.join(name, path) for path in names_below(root / name)]
        images = [path for path in below if path.lower().endswith(EXTENSIONS)]
        others = [path for path in below if not path.lower().endswith(EXTENSIONS)]
        got = f"none but {counted_endings(others)}" if others else "no image"
        require(bool(images), f"class {name!r} in {root}", got, "a class with images")
        paths, labels, left_out = paths + images, labels + [label] * len(images), left_out + others
    if left_out:
        endings = ", ".join(EXTENSIONS)
        log.warning(
            "%d files in %s are left out, as they do not end in %s: %s",
            len(left_out),
            root,
            endings,
            counted_endings(left_out),
        )
    return Stream(Files(root, paths), np.arange(len(paths)), torch.tensor(labels, dtype=torch.int64))


def in_memory(stream: Stream) -> Split:
    """Decode every image, once a run: 50,000 JPEGs of 32 pixels take a core 9 s, so nothing is cached."""
    workers = stream.workers if len(stream.labels) > 5000 else 0  # few are read before a process has started
    requests = [Request(places, None) for places in torch.arange(len(stream.labels)).split(500)]
    batches = [batch.images for batch in Reader(stream, requests, workers, pin=False, keep=False)]
    shapes = sorted({tuple(images.shape[2:]) for images in batches})
    require(len(shapes) == 1, "images", shapes[:3], "of one size; pass --image-size")
    return Split(torch.cat(batches), stream.labels, shift=4, flip=True, sized=True)


def held(stream: Stream, preprocessing: Preprocessing, workers: int | None) -> Split | Stream:
    """Read images into memory if they are small and not too many, else return a stream of views of the image size."""
    path, content = stream.source.read(int(stream.chosen[0]))
    width, height = decode(path, content)[0].size
    side = preprocessing.size or max(width, height) + 2 * preprocessing.pad
    sized = stream._replace(preprocessing=preprocessing, workers=workers)
    if side <= SMALL and 3 * side**2 * len(stream.labels) <= MEMORY:
        return in_memory(sized)
    allowed = f"given for images of more than {SMALL} pixels or {MEMORY >> 30} GiB: pass --image-size"
    require(preprocessing.size is not None, "image size", f"{path} of {width} x {height} pixels", allowed)
    return sized


def inner(root: Path) -> Path:
    """Return the root, or the one folder in it, as an archive unpacks."""
    folders = subfolders(root)
    known = ("train", "val", "test", "train_test_split.txt")
    alone = len(folders) == 1 and not any((root / name).exists() for name in known)
    return folders[0] if alone else root


def _table(path: Path) -> dict[str, str]:
    """Read a file whose lines are a number and a value each."""
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    require(all(len(row) == 2 for row in rows), "lines of", str(path), "a number and a value each")
    return dict(rows)


def _birds(root: Path) -> tuple[list[str], dict[str, Stream]]:
    """Read Caltech-UCSD Birds 200-2011 as it unpacks (Wah et al. 2011): images/CLASS/FILE and which are to train."""
    classes, listed = classes_of(root / "images"), _table(root / "images.txt")
    to_train = _table(root / "train_test_split.txt")
    lacking = sorted(listed.keys() ^ to_train.keys())
    require(not lacking, f"numbers in {root}", lacking[:3], "in images.txt and in train_test_split.txt alike")
    training = {path: to_train[number] == "1" for number, path in listed.items()}
    images = files(root / "images", classes)
    assert isinstance(images.source, Files)
    paths = [Path(os.fsdecode(path)).as_posix() for path in images.source.paths]
    unlisted = [path for path in paths if path not in training]
    require(not unlisted, f"images in {root}", unlisted[:3], "listed in images.txt")
    missing = sorted(training.keys() - set(paths))
    require(not missing, f"images of images.txt in {root}", missing[:3], "below images/, none of them missing")
    listed_to_train = np.array([training[path] for path in paths])
    return classes, {
        "train": images.part(np.flatnonzero(listed_to_train)),
        "test": images.part(np.flatnonzero(~listed_to_train)),
    }


def folder(data: Data, seed: int) -> Dataset:
    """Read images as train/CLASS/FILE and test/CLASS/FILE, or below one more folder; or tar shards.

    val/ is the validation set if it and test/ exist, else a tenth of train/ is; a lone val/ is the test set, and where
    train/ is missing a network can be evaluated.  With none of the three, CLASS/FILE is divided by seed, and
    Caltech-UCSD Birds by its own list.
    """
    if data.data_root is not None and data.data_root.suffix == ".tar":
        return shards(data, seed)
    root = inner(existing(data))
    there = [part for part in ("train", "val", "test") if (root / part).is_dir()]
    streams: dict[str, Stream] = {}
    if (root / "train_test_split.txt").is_file() and (root / "images").is_dir():
        classes, streams = _birds(root)
        there = list(streams)
    elif not there and len(folders := subfolders(root)) > 1:
        classes, there = [path.name for path in folders], ["all"]
    else:
        expected = "a folder with images as train/CLASS/FILE and test/CLASS/FILE, or as test/CLASS/FILE to evaluate"
        require(there not in ([], ["train"]), "data root", str(root), expected)
        classes = classes_of(root / there[0])

    usual = seen_whole(*IMAGENET, None) if data.image_size is None else cut_from_the_middle(*IMAGENET, data.image_size)
    preprocessing = chosen(data, usual)

    def get(part: str) -> Split | Stream:
        if part in streams:
            return held(streams[part], preprocessing, data.workers)
        require(
            part in there or part == "all", "data root", str(root), f"one with {part}/CLASS/FILE to train or calibrate"
        )
        listed = files(root if part == "all" else root / part, classes, there[0], outputs)
        return held(listed, preprocessing, data.workers)

    names, outputs = named(data, classes)
    train, val, test = divide(get, there, names, 0.1, seed)
    return Dataset(train, val, test, names, preprocessing, epochs=30)


def named(data: Data, folders: list[str]) -> tuple[list[str], Mapping[str, int] | None]:
    """Return (names of the network's classes, folder -> output); without --classes the folders are the classes."""
    if data.classes is None:
        return folders, None
    known = read_classes(data.classes)
    return known.names, known.of(folders, data.classes)


def unlabelled(data: Data, preprocessing: Preprocessing) -> Split | Stream:
    """Read the images below --calibration-root; those whose head cannot be read are left out aloud.

    ValueError where the folder is none, holds no image, or none that can be read.
    """
    root = data.calibration_root
    assert root is not None
    require(root.is_dir(), "calibration root", str(root), "a folder of images")
    below = names_below(root)
    images = [name for name in below if name.lower().endswith(EXTENSIONS)]
    got = f"{root} with {counted_endings(below)}" if below else f"{root}, which is empty"
    require(bool(images), "calibration root", got, f"a folder of images that end in {', '.join(EXTENSIONS)}")
    readable = [name for name in images if opens(root / name)]
    none = f"{root}, of whose {len(images)} none can be read"
    require(bool(readable), "calibration root", none, "a folder of images")
    if (torn := len(images) - len(readable)) > 0:
        log.warning("%d of %d images in %s cannot be read and are left out", torn, len(images), root)
    labels = torch.zeros(len(readable), dtype=torch.int64)
    return held(Stream(Files(root, readable), np.arange(len(readable)), labels), preprocessing, data.workers)
