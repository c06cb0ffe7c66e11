"""ImageNet-1k (Russakovsky et al. 2015): its val folder is the test set, a part of train validates."""

import logging
import os
import shutil
from pathlib import Path

from torchvision.datasets import imagenet as published

from checks import require

from ..config import Data
from .dataset import IMAGENET, Dataset, divide, existing
from .folders import classes_of, files, inner, named
from .preprocessing import chosen, cut_from_the_middle
from .shards import shards
from .stream import Stream

log = logging.getLogger(__name__)
ARCHIVES = {part: name for part, (name, _) in published.ARCHIVE_META.items()}


def unpack(root: Path, part: str) -> None:
    """Unpack torchvision's way, checked against the published MD5; the folder appears whole or not at all."""
    log.info("unpacking %s: once, and not quickly", root / ARCHIVES[part])
    temporary = f".{part}.unpacking"
    try:
        if part == "val" and not (root / published.META_FILE).is_file():
            published.parse_devkit_archive(root)
        (published.parse_train_archive if part == "train" else published.parse_val_archive)(root, folder=temporary)
        os.replace(root / temporary, root / part)
    except (RuntimeError, OSError, EOFError) as error:
        raise ValueError(f"{ARCHIVES[part]} in {root} must be the published archive ({error})") from None
    finally:
        shutil.rmtree(root / temporary, ignore_errors=True)


def imagenet(data: Data, seed: int) -> Dataset:
    """Read train/SYNSET/FILE and val/SYNSET/FILE, or the published archives, or tar shards; evaluate val/ alone.

    224 pixels a side if not told otherwise; of the training images 4 % validate, as many as val/ has.
    """
    if data.data_root is not None and data.data_root.suffix == ".tar":
        return shards(data, seed)
    root = inner(existing(data))
    for part in ("val", "train"):
        if not (root / part).is_dir() and (root / ARCHIVES[part]).is_file():
            unpack(root, part)
    names = ", ".join(ARCHIVES.values())
    expected = f"a folder with train/SYNSET/FILE and val/SYNSET/FILE, or with {names} from image-net.org"
    require((root / "val").is_dir(), "data root", str(root), expected)
    classes = classes_of(root / "val")
    preprocessing = chosen(data, cut_from_the_middle(*IMAGENET, data.image_size or 224))

    def get(part: str) -> Stream:
        require((root / part).is_dir(), "data root", str(root), f"a folder with {part}/SYNSET/FILE, to train")
        return files(root / part, classes, "val", outputs)._replace(preprocessing=preprocessing, workers=data.workers)

    known, outputs = named(data, classes)
    train, val, test = divide(get, ("train", "val"), known, 0.04, seed)
    return Dataset(train, val, test, known, preprocessing, epochs=90)
