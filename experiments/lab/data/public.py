"""Public datasets of small images, read whole into memory by torchvision, which downloads and checks them."""

import contextlib
import io
import os
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.functional import pad
from torchvision import datasets

from checks import require

from ..config import Data
from .dataset import Dataset, Split, divide, existing
from .preprocessing import chosen, seen_whole

DIGITS = [str(digit) for digit in range(10)]


class Public(NamedTuple):
    """A Public says where torchvision keeps a dataset below its root, with the MD5 of the files that it has one for."""

    make: Callable[..., Any]  # (root, train, download=) -> torchvision's dataset
    files: dict[str, str | None]
    archives: list[str]  # what the files are unpacked from, without a network too
    side: int  # pixels of an image
    classes: list[str]


def idx(make: type[datasets.MNIST], train: bool) -> Public:
    """Describe the format of MNIST (LeCun et al. 1998): 28 x 28, grey."""
    folder, archives = f"{make.__name__}/raw", [name for name, _ in make.resources]
    files: dict[str, str | None] = {f"{folder}/{name.removesuffix('.gz')}": None for name in archives}
    return Public(make, files, [f"{folder}/{name}" for name in archives], 28, make.classes)


def cifar(make: type[datasets.CIFAR10], train: bool) -> Public:
    """Describe the format of CIFAR (Krizhevsky 2009): 32 x 32, colour.

    torchvision unpickles its files, which is acceptable because it compares their MD5 with the published ones first:
    a file from anywhere else is refused unread.
    """
    listed = [*make.train_list, *make.test_list, (make.meta["filename"], make.meta["md5"])]
    return Public(make, {f"{make.base_folder}/{name}": md5 for name, md5 in listed}, [make.filename], 32, [])


def svhn(make: type[datasets.SVHN], train: bool) -> Public:
    """Describe the format of SVHN (Netzer et al. 2011): 32 x 32, colour; a MATLAB file for each part."""
    part = "train" if train else "test"
    _, name, md5 = make.split_list[part]
    return Public(lambda root, _, download: make(root, part, download=download), {name: md5}, [], 32, DIGITS)


def download(public: Public, root: Path, train: bool) -> None:
    """Fetch or unpack the files into the root, where they appear whole; ValueError says which to put there by hand."""
    with tempfile.TemporaryDirectory(prefix=".download-", dir=root) as temporary:
        for name in public.archives:
            if (root / name).is_file():  # torchvision unpacks an archive that it finds, after checking it
                (Path(temporary) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(temporary) / name).symlink_to((root / name).resolve())
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # mirrors that failed; the last reason is in the error
                public.make(temporary, train, download=True)
        except (OSError, RuntimeError, HTTPException, EOFError, tarfile.TarError, zlib.error) as error:
            lacking = ", ".join(name for name in public.files if not (root / name).is_file())
            archives = ", ".join(public.archives) if len(public.archives) < 2 else "the same as .gz"
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(
                f"data root must be a folder with {lacking}{f' or {archives}' if archives else ''}, to be put there by "
                f"hand where no download is possible ({reason}), got {root}"
            ) from None
        for name in public.files:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(Path(temporary) / name, root / name)


def read(public: Public, root: Path, train: bool, padding: int) -> tuple[Split, list[str]]:
    """Read (training or test images, class names); ValueError names the file that is missing or not as published."""
    if not all((root / name).is_file() for name in public.files):
        download(public, root, train)
    try:
        raw = public.make(str(root), train, download=False)
    except Exception as error:  # whatever torchvision's readers meet in a file that is cut off or another
        raise ValueError(
            f"{', '.join(public.files)} must be whole and as published, by MD5 or in the idx format: delete those that "
            f"are not to have them downloaded again, got {root} ({error or type(error).__name__})"
        ) from None
    images = torch.as_tensor(raw.data)
    images = images[:, None] if images.ndim == 3 else images
    images = images.movedim(-1, 1) if images.shape[-1] == 3 else images  # CIFAR keeps its channels last
    labels = torch.as_tensor(raw.labels if hasattr(raw, "labels") else raw.targets).long()
    side = public.side
    require(
        images.shape[2:] == (side, side), f"images in {root}", tuple(images.shape[2:]), f"of {side} x {side} pixels"
    )
    require(len(images) == len(labels) > 0, f"labels in {root}", len(labels), f"one for each of {len(images)} images")
    classes = public.classes or raw.classes
    require(int(labels.max()) < len(classes), f"labels in {root}", int(labels.max()), f"below {len(classes)}")
    return Split(pad(images, (padding,) * 4).contiguous(), labels), classes


def published(
    layout: Callable[[Any, bool], Public],
    make: type,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    *,
    epochs: int,
    shift: int,
    flip: bool,
) -> Callable[[Data, int], Dataset]:
    """Return the loader of one of torchvision's datasets: its training and test sets; a tenth of the former validates.

    Images leave as 32 x 32, smaller ones padded with zeros, unless the options say otherwise; they are resized batch by
    batch.
    """

    def load(data: Data, seed: int) -> Dataset:
        root = existing(data)
        side = layout(make, False).side
        preprocessing = chosen(data, seen_whole(mean, std, data.image_size, pad=(32 - side) // 2))

        @cache
        def get(part: str) -> tuple[Split, list[str]]:
            split, classes = read(layout(make, part == "train"), root, part == "train", preprocessing.pad)
            return split._replace(shift=shift, flip=flip), classes

        classes = get("test")[1]  # read now, so that what is wrong on disk is said before anything else is done
        train, val, test = divide(lambda part: get(part)[0], ("train", "test"), classes, 0.1, seed)
        return Dataset(train, val, test, classes, preprocessing, epochs)

    return load
