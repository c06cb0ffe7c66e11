"""Tiny data sets in the formats of the real ones, what damages them, and a network and a command to read them with."""

import hashlib
import io
import pickle
import struct
import tarfile
import zlib

import numpy as np
from PIL import Image
from refusals import refused
from scipy.io import savemat
from torch import nn
from torchvision import datasets

from experiments.lab.config import Data
from experiments.run.__main__ import main


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def write_idx(root, make=datasets.MNIST, n=(40, 20), side=28):
    """IDX files: magic 0x0000 08 ndim, sizes as big-endian int32, bytes."""
    folder = root / make.__name__ / "raw"
    folder.mkdir(parents=True)
    for part, count in zip(("train", "t10k"), n):
        images, labels = noise(count, side, side, seed=count), np.arange(count, dtype=np.uint8) % 10
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            header = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
            (folder / name).write_bytes(header + array.tobytes())
    return folder


def write_cifar(root, make, monkeypatch):
    """Pickled dicts, published under the MD5 they have."""
    folder, fine = root / make.base_folder, make is datasets.CIFAR100
    folder.mkdir()
    classes = [f"class{i}" for i in range(10)]
    for attribute in ("train_list", "test_list"):
        listed = []
        for seed, (name, _) in enumerate(getattr(make, attribute)):
            labels = list(range(10)) * 2
            content = {"data": noise(20, 3072, seed=seed + len(name)), "fine_labels" if fine else "labels": labels}
            (folder / name).write_bytes(pickle.dumps(content))
            listed.append([name, md5(folder / name)])
        monkeypatch.setattr(make, attribute, listed)
    (folder / make.meta["filename"]).write_bytes(pickle.dumps({make.meta["key"]: classes}))
    monkeypatch.setattr(make, "meta", make.meta | {"md5": md5(folder / make.meta["filename"])})
    return folder


def write_svhn(root, monkeypatch):
    """MATLAB files: X (32, 32, 3, n), y (n, 1) with 10 for the digit 0."""
    for part, n in (("train", 40), ("test", 20)):
        url, name, _ = datasets.SVHN.split_list[part]
        savemat(root / name, {"X": noise(32, 32, 3, n, seed=n), "y": np.arange(n)[:, None] % 10 + 1})
        monkeypatch.setitem(datasets.SVHN.split_list, part, [url, name, md5(root / name)])


def save(path, image, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, **options)
    return path


def png_of_16_bits(pixels):
    """A PNG file of pixels (h, w, 2, 3 or 4) in 16 bits a channel: grey with alpha, colour, or colour with alpha."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width, channels = pixels.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)  # each row begins with its filter: none
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def write_images(root, parts=("train", "test"), size=(32, 32), classes=("cat", "dog"), n=10, suffix="png"):
    """PART/CLASS/FILE of noise, no two alike."""
    for p, part in enumerate(parts):
        for c, name in enumerate(classes):
            for i in range(n):
                pixels = noise(size[1], size[0], 3, seed=1000 * p + 100 * c + i)
                save(root / part / name / f"{i}.{suffix}", Image.fromarray(pixels))
    return root


def write_birds(root):
    """CUB_200_2011: images/CLASS/FILE, images.txt, train_test_split.txt."""
    write_images(root, ("images",), (90, 80), ("001.Albatross", "002.Auklet"), suffix="jpg")
    files = sorted((root / "images").rglob("*.jpg"))
    listed = [f"{i} {path.relative_to(root / 'images').as_posix()}" for i, path in enumerate(files, 1)]
    (root / "images.txt").write_text("\n".join(listed) + "\n")
    (root / "train_test_split.txt").write_text("".join(f"{i} {int(i % 3 > 0)}\n" for i in range(1, len(files) + 1)))
    return root


def solid(i):
    """An image that is told by its colour, whatever is cut out of it."""
    return Image.new("RGB", (80, 70), (i % 256, i // 256, 7))


def write_shard(path, numbers, classes=4, label=lambda i, classes: str(i % classes)):
    """KEY.png, KEY.cls and a KEY.json nobody asked for."""
    with tarfile.open(path, "w") as shard:
        for i in numbers:
            content = io.BytesIO()
            solid(i).save(content, "png")
            for suffix, data in (("png", content.getvalue()), ("cls", label(i, classes).encode()), ("json", b"{}")):
                member = tarfile.TarInfo(f"folder.v1/{i:05d}.{suffix}")
                member.size = len(data)
                shard.addfile(member, io.BytesIO(data))
    return path


def write_shards(root, names, each=20):
    root.mkdir(exist_ok=True)
    for s, name in enumerate(names):
        write_shard(root / name, range(s * each, (s + 1) * each))
    return root


def write_named(name, root, monkeypatch):
    """Data of a tiny dataset in the format of the real one."""
    size = None
    root.mkdir()
    if name in ("mnist", "fashion-mnist"):
        write_idx(root, datasets.MNIST if name == "mnist" else datasets.FashionMNIST)
    elif name in ("cifar10", "cifar100"):
        write_cifar(root, datasets.CIFAR10 if name == "cifar10" else datasets.CIFAR100, monkeypatch)
    elif name == "svhn":
        write_svhn(root, monkeypatch)
    elif name == "imagenet":
        write_images(root, ("train", "val"), (90, 80), suffix="jpg")
        size = 72
    elif name == "folder":
        write_images(root)
    elif name == "birds":
        name, size = "folder", 72
        write_birds(root)
    elif name == "classes":
        name = "folder"
        write_images(root, ("",))
    elif name == "shards":
        name, size = "folder", 72
        write_shards(root, [f"{part}-{i:03d}.tar" for part in ("train", "val") for i in range(2)])
        root = root / "{train,val}-{000..001}.tar"
    elif name == "one shard":
        name, size = "imagenet", 72
        root = write_shard(root / "all.tar", range(60))
    return Data(name, None if name == "digits" else root, image_size=size, workers=0)


def damage(path, how):
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(bytes(255 - b for b in content[:64]) + content[64:])


def tiny(classes, channels):
    """A network that costs nothing."""
    pooled = nn.Sequential(nn.Conv2d(channels, 8, 7, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(pooled, nn.Linear(8, classes))


def said(arguments, tmp_path, capsys):
    """The sentence with which the command line is refused."""
    arguments = [*map(str, arguments), "--out", str(tmp_path / "runs"), "--kernel", "svd", "--max-epochs", "1"]
    return refused(main, arguments, tmp_path, capsys)
