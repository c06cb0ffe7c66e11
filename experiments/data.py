"""Datasets by name, each split into train, validation and test; images are held in memory as uint8."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torchvision
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor
from torchvision.transforms import v2

from checks import need

from .config import Data

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Split(NamedTuple):
    """images (n, c, h, w) uint8, labels (n,) int64."""

    images: Tensor
    labels: Tensor


class Dataset(NamedTuple):
    """Splits are read when they are asked for: an evaluation never opens the training images."""

    train: Callable[[], Split]
    val: Callable[[], Split]
    test: Callable[[], Split]
    classes: list[str]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    epochs: int  # that usually suffice
    shift: int  # pixels by which an image may be moved in training
    flip: bool  # whether a mirrored image keeps its class

    @property
    def channels(self) -> int:
        """Of every image."""
        return len(self.mean)


def _halves(split: Split, part: float, seed: int) -> tuple[Split, Split]:
    """(rest, part), with the classes in the same proportions."""
    rest, some = train_test_split(
        np.arange(len(split.labels)), test_size=part, random_state=seed, stratify=split.labels.numpy()
    )
    return Split(split.images[rest], split.labels[rest]), Split(split.images[some], split.labels[some])


def digits(data: Data, seed: int) -> Dataset:
    """The 1,797 handwritten digits of scikit-learn (Alpaydin & Kaynak 1998), enlarged from 8 to 32 pixels; 60:20:20."""
    raw = load_digits()
    images = torch.from_numpy(raw.images / 16 * 255)[:, None]
    images = v2.functional.resize(images, [32, 32], antialias=True).round().clamp(0, 255).to(torch.uint8)
    rest, test = _halves(Split(images, torch.from_numpy(raw.target).long()), 0.2, seed)
    train, val = _halves(rest, 0.25, seed)
    names = [str(digit) for digit in range(10)]
    return Dataset(lambda: train, lambda: val, lambda: test, names, (0.305,), (0.37,), 40, shift=4, flip=False)


def mnist(data: Data, seed: int) -> Dataset:
    """MNIST (LeCun et al. 1998), padded to 32 x 32; a tenth of the training images validates."""
    root = _existing(data)

    @cache
    def read(train: bool) -> Split:
        try:
            raw = torchvision.datasets.MNIST(root, train=train)
        except RuntimeError:
            expected = "a folder with MNIST/raw/{train,t10k}-{images-idx3,labels-idx1}-ubyte"
            advice = f"torchvision.datasets.MNIST({str(root)!r}, download=True) puts them there"
            raise ValueError(f"data root must be {expected} ({advice}), got {root}") from None
        return Split(torch.nn.functional.pad(raw.data[:, None], (2, 2, 2, 2)), raw.targets)

    read(train=False)
    halves = cache(lambda: _halves(read(train=True), 0.1, seed))
    names = [str(digit) for digit in range(10)]
    return Dataset(
        lambda: halves()[0], lambda: halves()[1], lambda: read(False), names, (0.1,), (0.275,), 3, shift=1, flip=False
    )


def folder(data: Data, seed: int) -> Dataset:
    """Images as train/CLASS/file and test/CLASS/file, or below one more folder.

    val/ is the validation set if it and test/ exist, else a tenth of train/ is; a lone val/ is the test set.
    """
    root = _existing(data)
    inner = [path for path in sorted(root.iterdir()) if path.is_dir()]
    if len(inner) == 1 and not (root / "train").is_dir():
        root = inner[0]
    parts = {part: root / part for part in ("train", "val", "test") if (root / part).is_dir()}
    need({"train"} < set(parts), "data root", str(root), "a folder with images as train/CLASS/FILE and test/CLASS/FILE")
    try:
        classes = torchvision.datasets.folder.find_classes(parts["train"])[0]
    except FileNotFoundError:
        raise ValueError(f"data root must have one folder of images per class in {parts['train']}, got none") from None

    @cache
    def read(part: str) -> Split:
        steps = [v2.PILToTensor()]
        if size := data.image_size:
            steps = [v2.Resize(size), v2.CenterCrop(size), *steps]
        images = torchvision.datasets.ImageFolder(parts[part], v2.Compose(steps), allow_empty=True)
        need(images.classes == classes, f"classes in {parts[part]}", images.classes, f"those of train: {classes}")
        need(len(images) > 0, f"{parts[part]}", "no image", "a folder with images")
        loaded = torch.utils.data.DataLoader(images, batch_size=None, num_workers=2)
        stacked = [image.clone() for image, _ in loaded]  # out of shared memory, of which each piece is an open file
        sizes = {tuple(image.shape[1:]) for image in stacked}
        need(len(sizes) == 1, f"images in {parts[part]}", sorted(sizes)[:3], "of one size; pass --image-size")
        return Split(torch.stack(stacked), torch.tensor(images.targets))

    halves = cache(lambda: _halves(read("train"), 0.1, seed))
    both = {"val", "test"} <= set(parts)
    return Dataset(
        train=lambda: read("train") if both else halves()[0],
        val=lambda: read("val") if both else halves()[1],
        test=lambda: read("test" if "test" in parts else "val"),
        classes=classes,
        mean=IMAGENET[0],
        std=IMAGENET[1],
        epochs=30,
        shift=4,
        flip=True,
    )


def _existing(data: Data) -> Path:
    need(data.data_root is not None, "data root", None, f"given for dataset {data.dataset}: pass --data-root")
    assert data.data_root is not None
    need(data.data_root.is_dir(), "data root", str(data.data_root), "a folder that exists")
    return data.data_root


DATASETS = {"digits": digits, "mnist": mnist, "folder": folder}


def load_dataset(data: Data, seed: int) -> Dataset:
    """The dataset by name; ValueError with the choices, or with what was expected on disk and how to get it."""
    need(data.dataset in DATASETS, "dataset", data.dataset, f"one of {', '.join(DATASETS)}")
    return DATASETS[data.dataset](data, seed)
