"""WebDataset tar shards: KEY.jpg beside KEY.cls, the class as a number in ASCII; read by position, never unpickled.

The shards' headers are read once, which tells every image's place, length and class.  So each rank and each worker
knows its images before the first is read: none is lost or repeated, at any number of them, and an epoch has a length.
The webdataset package shares out whole shards as they are streamed, which can do neither.
"""

import os
import tarfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from braceexpand import UnbalancedBracesError, braceexpand  # type: ignore[attr-defined]  # its stubs lack the error

from checks import require

from ..config import Data
from .dataset import IMAGENET, Dataset, check_classes, divide
from .images import EXTENSIONS
from .preprocessing import Preprocessing, chosen, cut_from_the_middle
from .reader import cores
from .stream import Stream


class Shards:
    """The images of a list of tar files; `at` (n, 3) holds the number of the shard, the offset and the length."""

    def __init__(self, paths: list[Path], at: np.ndarray) -> None:
        self.paths, self.at = paths, at

    def read(self, i: int) -> tuple[str, bytes]:
        """Return (shard and position, content)."""
        shard, offset, length = (int(number) for number in self.at[i])
        with self.paths[shard].open("rb") as file:
            return f"{self.paths[shard]} at byte {offset}", os.pread(file.fileno(), length, offset)

    def sizes(self, chosen: np.ndarray) -> np.ndarray:
        """Return the bytes of each of these images."""
        return self.at[chosen, 2]


class Listing(NamedTuple):
    """One shard: (offset, length) (n, 2) of every image, labels (n,)."""

    at: np.ndarray
    labels: np.ndarray


def listing(path: Path) -> Listing:
    """List where the images of a shard lie; ValueError in a sentence for one cut off or with images without a class."""
    at: dict[str, tuple[int, int]] = {}
    labels: dict[str, int] = {}
    try:
        with tarfile.open(path, "r:") as shard:
            for member in shard:
                if not member.isfile():
                    continue
                folder, _, name = member.name.rpartition("/")
                stem, _, extension = name.partition(".")  # as WebDataset: the key ends at the first dot
                key, kind = f"{folder}/{stem}", f".{extension.lower()}"
                if kind in EXTENSIONS:
                    at[key] = member.offset_data, member.size
                elif kind == ".cls":
                    text = shard.extractfile(member).read()  # type: ignore[union-attr]  # a file: not None
                    require(text.strip().isdigit(), f"class of {member.name} in {path}", text[:20], "a number in ASCII")
                    labels[key] = int(text)
    except (tarfile.TarError, EOFError) as error:
        raise ValueError(f"shard must be a whole, uncompressed tar file, got {path} ({error})") from None
    with path.open("rb") as file:  # a tar file ends with 1024 zero bytes, without which it was cut off
        file.seek(-min(1024, path.stat().st_size), os.SEEK_END)
        require(not any(file.read()), "shard", str(path), "a whole tar file, not one that was cut off")
    require(bool(at), "shard", str(path), f"one with images ({', '.join(EXTENSIONS)})")
    lacking = [key for key in at if key not in labels]
    require(not lacking, f"images in {path}", lacking[:3], "each beside a .cls of the same name")
    return Listing(np.array(list(at.values()), dtype=np.int64), np.array([labels[key] for key in at], dtype=np.int64))


def stream(paths: list[Path], preprocessing: Preprocessing, workers: int | None) -> Stream:
    """List all images of the shards."""
    if len(paths) > 8:  # one core would take a minute for all of ImageNet
        with ProcessPoolExecutor(cores()) as pool:
            listings = list(pool.map(listing, paths))
    else:
        listings = [listing(path) for path in paths]
    at = np.concatenate([np.insert(listed.at, 0, number, axis=1) for number, listed in enumerate(listings)])
    labels = np.concatenate([listed.labels for listed in listings])
    everything = np.arange(len(at))
    return Stream(Shards(paths, at), everything, torch.from_numpy(labels), preprocessing, workers=workers)


def shards(data: Data, seed: int) -> Dataset:
    """Read the images of `--data-root 'DIR/{train,val}-{000..146}.tar'`, 224 pixels a side if not told otherwise.

    Shards with train, val or test in their names are those splits and a lone val is the test set; where no name has
    one of these words, the images of all shards are divided by seed.
    """
    try:
        paths = [Path(path).expanduser() for path in braceexpand(str(data.data_root))]
    except UnbalancedBracesError:
        raise ValueError(f"data root must have a closing brace for each opening one, got {data.data_root}") from None
    missing = [str(path) for path in paths if not path.is_file()]
    require(not missing, "shards", missing[:3], "files that exist")
    named = {part: [path for path in paths if part in path.name.lower()] for part in ("train", "val", "test")}
    named = {part: its for part, its in named.items() if its}
    ok = not named or ("train" in named and len(named) > 1 and sum(map(len, named.values())) == len(paths))
    require(
        ok, "names of the shards", str(data.data_root), "with train and with val or test in them, or none with either"
    )
    preprocessing = chosen(data, cut_from_the_middle(*IMAGENET, data.image_size or 224))
    read = {part: stream(its, preprocessing, data.workers) for part, its in (named or {"all": paths}).items()}
    classes = [str(number) for number in range(1 + max(int(images.labels.max()) for images in read.values()))]
    check_classes(read["train" if named else "all"].labels, classes, str(data.data_root))
    train, val, test = divide(read.__getitem__, set(read), classes, 0.04, seed)
    return Dataset(train, val, test, classes, preprocessing, epochs=90)
