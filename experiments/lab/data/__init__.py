"""Datasets by name, each split into train, validation and test, which never share an image."""

from functools import cache, partial

import torch
from sklearn.datasets import load_digits
from torchvision import datasets
from torchvision.transforms import v2

from checks import require

from ..config import Data
from .dataset import Dataset, Split, halves
from .folders import folder, unlabelled
from .imagenet_1k import imagenet
from .preprocessing import Preprocessing, chosen, seen_whole
from .public import DIGITS, cifar, idx, published, svhn
from .stream import Stream

__all__ = ["DATASETS", "Dataset", "Preprocessing", "Split", "Stream", "load_dataset"]


def digits(data: Data, seed: int) -> Dataset:
    """Return scikit-learn's 1,797 handwritten digits (Alpaydin & Kaynak 1998), enlarged from 8 to 32 pixels; 60:20:20.

    With `--interpolation none` they keep their 8 pixels.
    """
    raw = load_digits()
    preprocessing = chosen(data, seen_whole((0.305,), (0.37,), data.image_size))
    images = torch.from_numpy(raw.images / 16 * 255)[:, None]
    if data.interpolation != "none":
        images = v2.functional.resize(images, [32, 32], antialias=True)
    images = v2.functional.pad(images.round().clamp(0, 255).to(torch.uint8), [preprocessing.pad])
    everything = Split(images, torch.from_numpy(raw.target).long(), shift=4)
    rest, test = halves(everything, DIGITS, 0.2, seed)
    train, val = halves(rest, DIGITS, 0.25, seed)
    return Dataset(lambda: train, lambda: val, lambda: test, DIGITS, preprocessing, epochs=40)


# mean and standard deviation are those of the training images, padded to 32 x 32 where they are smaller
DATASETS = {
    "digits": digits,
    "mnist": published(idx, datasets.MNIST, (0.1,), (0.275,), epochs=3, shift=1, flip=False),
    "fashion-mnist": published(idx, datasets.FashionMNIST, (0.219,), (0.332,), epochs=15, shift=2, flip=True),
    "cifar10": published(
        cifar, datasets.CIFAR10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616), epochs=30, shift=4, flip=True
    ),
    "cifar100": published(
        cifar, datasets.CIFAR100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762), epochs=30, shift=4, flip=True
    ),
    "svhn": published(
        svhn, datasets.SVHN, (0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970), epochs=15, shift=2, flip=False
    ),
    "imagenet": imagenet,
    "folder": folder,
}


def load_dataset(data: Data, seed: int) -> Dataset:
    """Load the dataset by name; ValueError with the choices, or with what was expected on disk and how to get it."""
    require(data.dataset in DATASETS, "dataset", data.dataset, f"one of {', '.join(DATASETS)}")
    folders = data.dataset in ("folder", "imagenet") and (data.data_root is None or data.data_root.suffix != ".tar")
    require(data.classes is None or folders, "classes", data.classes, "left out but for images in folders of classes")
    dataset = DATASETS[data.dataset](data, seed)
    if data.calibration_root is not None:
        coloured = dataset.channels == 3  # as all images of files are read
        require(coloured, "calibration root", str(data.calibration_root), "left out for a dataset without colours")
        dataset = dataset._replace(unlabelled=cache(partial(unlabelled, data, dataset.preprocessing)))
    require(len(dataset.classes) > 1, f"classes of {data.data_root}", dataset.classes, "two or more, to tell apart")
    return dataset
