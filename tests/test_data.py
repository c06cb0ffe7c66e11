"""Datasets on tiny files in their own formats: what is read, how it is shared out, and every refusal in a sentence."""

import gzip
import hashlib
import io
import pickle
import re
import shutil
import struct
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from refusals import refused
from scipy.io import savemat
from torch import nn
from torchvision import datasets
from torchvision.models import ResNet18_Weights
from torchvision.transforms import v2

from experiments.batches import Batches, augment
from experiments.config import Config, Data
from experiments.data import DATASETS, load_dataset
from experiments.data.order import Order
from experiments.evaluate import accuracy
from experiments.models import build
from experiments.models.weights import load_checkpoint
from experiments.run import main

SHARED = Path(__file__).parents[2] / "shared"  # development data beside the checkout, absent elsewhere


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)


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


@pytest.fixture
def written(tmp_path, monkeypatch):
    """name -> Data of a tiny dataset in the format of the real one."""

    def write(name):
        root, size = tmp_path / "data", None
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

    return write


def pixels(split, dataset):
    """Each image's content, as evaluation sees it."""
    return [image.numpy().tobytes() for images, _ in Batches(split, dataset, 16, workers=0) for image in images]


SIZES = {  # train, val, test; classes
    "digits": (1077, 360, 360, 10),
    "mnist": (30, 10, 20, 10),
    "fashion-mnist": (30, 10, 20, 10),
    "cifar10": (90, 10, 20, 10),
    "cifar100": (10, 10, 20, 10),
    "svhn": (30, 10, 20, 10),
    "imagenet": (18, 2, 20, 2),
    "folder": (18, 2, 20, 2),
    "birds": (12, 2, 6, 2),
    "classes": (14, 2, 4, 2),
    "shards": (36, 4, 40, 4),
    "one shard": (44, 4, 12, 4),
}


def test_every_dataset_is_in_the_table():
    assert set(DATASETS) <= set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_splits_are_whole_distinct_and_ready_to_train(name, written):
    data = written(name)
    dataset = load_dataset(data, seed=3)
    splits = dataset.train(), dataset.val(), dataset.test()
    assert (*(len(split.labels) for split in splits), len(dataset.classes)) == SIZES[name]
    seen = Counter(image for split in splits for image in pixels(split, dataset))
    if name != "digits":  # of which scikit-learn has one twice
        assert set(seen.values()) == {1}
    for split in splits:
        counts = np.bincount(split.labels, minlength=len(dataset.classes))
        assert counts.min() > 0
    side = data.image_size or 32
    for split, train in zip(splits, (True, False, False)):
        batches = list(Batches(split, dataset, 8, train=train, workers=0))
        assert sum(len(labels) for _, labels in batches) == len(split.labels)
        assert Counter(int(i) for _, labels in batches for i in labels) == Counter(split.labels.tolist())
        for images, _ in batches:
            assert images.shape[1:] == (dataset.channels, side, side)
            assert images.dtype == torch.float32
    again = load_dataset(data, seed=3)
    assert pixels(again.val(), again) == pixels(splits[1], dataset)
    assert pixels(load_dataset(data, seed=4).val(), dataset) != pixels(splits[1], dataset) or len(seen) < 30


@pytest.mark.parametrize("name", ["mnist", "cifar10", "svhn"])
def test_images_and_labels_are_the_ones_on_disk(name, written, tmp_path):
    dataset = load_dataset(written(name), 0)
    split = dataset.test()
    if name == "mnist":
        assert torch.equal(split.images[:, 0, 2:30, 2:30], torch.from_numpy(noise(20, 28, 28, seed=20)))
        assert not split.images[:, :, :2].any()
        assert split.labels.tolist() == [i % 10 for i in range(20)]
    elif name == "cifar10":
        assert torch.equal(split.images.flatten(1), torch.from_numpy(noise(20, 3072, seed=len("test_batch"))))
        assert dataset.classes == [f"class{i}" for i in range(10)]
    else:
        assert torch.equal(split.images, torch.from_numpy(noise(32, 32, 3, 20, seed=20)).permute(3, 2, 0, 1))
        assert split.labels.tolist() == [(i + 1) % 10 for i in range(20)]  # the digit 0 is stored as 10


def test_birds_have_their_own_list_of_what_is_for_training(written):
    data = written("birds")
    dataset = load_dataset(data, 0)
    test = dataset.test()
    files = sorted((data.data_root / "images").rglob("*.jpg"))
    assert [test.source.read(int(i))[0] for i in test.chosen] == [str(path) for path in files[2::3]]


def test_archives_are_unpacked_without_a_network(tmp_path, monkeypatch):
    folder = write_idx(tmp_path)
    resources = []
    for path in sorted(folder.iterdir()):
        archive = path.with_name(f"{path.name}.gz")
        archive.write_bytes(gzip.compress(path.read_bytes()))
        resources.append((archive.name, md5(archive)))
        path.unlink()
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    assert len(load_dataset(Data("mnist", tmp_path), 0).train().labels) == 30
    assert not list(tmp_path.glob(".download-*"))


def test_a_download_that_fails_leaves_nothing(tmp_path):
    for name in ("mnist", "fashion-mnist", "cifar10", "cifar100", "svhn"):
        with pytest.raises(ValueError, match=r"^data root must be a folder with .*no network"):
            load_dataset(Data(name, tmp_path), 0)
    assert list(tmp_path.iterdir()) == []


def test_imagenets_archives_are_unpacked(tmp_path, monkeypatch):
    """Tars of tars for training; a flat tar and a list of classes for validation."""
    synsets = ["n01", "n02"]
    outer = tmp_path / "ILSVRC2012_img_train.tar"
    with tarfile.open(outer, "w") as train:
        for s, name in enumerate(synsets):
            inner = tmp_path / f"{name}.tar"
            with tarfile.open(inner, "w") as members:
                for i in range(3):
                    image = save(tmp_path / "i.jpg", Image.fromarray(noise(70, 80, 3, seed=10 * s + i)))
                    members.add(image, f"{name}_{i}.JPEG")
            train.add(inner, inner.name)
            inner.unlink()
    with tarfile.open(tmp_path / "ILSVRC2012_img_val.tar", "w") as val:
        for i in range(4):
            image = save(tmp_path / "i.jpg", Image.fromarray(noise(70, 80, 3, seed=100 + i)))
            val.add(image, f"ILSVRC2012_val_{i}.JPEG")
    (tmp_path / "i.jpg").unlink()
    torch.save(({name: (name,) for name in synsets}, ["n02", "n01", "n01", "n02"]), tmp_path / "meta.bin")
    for part in ("train", "val"):
        name = f"ILSVRC2012_img_{part}.tar"
        monkeypatch.setitem(datasets.imagenet.ARCHIVE_META, part, (name, md5(tmp_path / name)))
    dataset = load_dataset(Data("imagenet", tmp_path, image_size=72), 0)
    assert dataset.classes == synsets
    assert dataset.test().labels.tolist() == [0, 0, 1, 1]
    assert len(dataset.train().labels) == 4
    assert not list(tmp_path.glob(".*"))


def test_a_killed_or_refused_unpacking_leaves_no_folder(tmp_path, monkeypatch):
    (tmp_path / "ILSVRC2012_img_val.tar").write_bytes(b"cut off")
    torch.save(({}, []), tmp_path / "meta.bin")
    with pytest.raises(ValueError, match=r"^ILSVRC2012_img_val.tar in .* must be the published archive"):
        load_dataset(Data("imagenet", tmp_path), 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ILSVRC2012_img_val.tar", "meta.bin"]


def test_imagenet_can_be_evaluated_without_training_images(tmp_path):
    write_images(tmp_path, ("val",), (90, 80))
    dataset = load_dataset(Data("imagenet", tmp_path, image_size=72), 0)
    assert len(dataset.test().labels) == 20
    with pytest.raises(ValueError, match="data root must be a folder with train/SYNSET/FILE, to train"):
        dataset.train()


# what is read when, and by whom


@given(n=st.integers(1, 200), size=st.integers(1, 20), world=st.integers(1, 5), seed=st.integers(0, 3))
def test_every_rank_has_its_share_and_no_image_is_lost_or_repeated(n, size, world, seed):
    evaluated = [Order(n, size, False, seed, rank, world) for rank in range(world)]
    places = [batch for order in evaluated for batch in order.draw().batches]
    assert torch.equal(torch.cat(places).sort().values, torch.arange(n))
    assert [len(order) for order in evaluated] == [len(order.draw().batches) for order in evaluated]
    if n < world:
        with pytest.raises(ValueError, match="training images must be at least one for each"):
            Order(n, size, True, seed, 0, world)
        return
    ranks = [Order(n, size, True, seed, rank, world) for rank in range(world)]
    draws = [order.draw().batches for order in ranks]
    assert torch.equal(torch.cat([batch for batches in draws for batch in batches]).sort().values, torch.arange(n))
    assert {len(batches) for batches in draws} == {len(order) for order in ranks}  # as many steps on every rank
    least = min(len(batch) for batches in draws for batch in batches)
    assert least >= min(2, n // world, size)
    assert all(len(batch) == size for batches in draws for batch in batches[:-1])
    # together the ranks take the steps of one process with the doubled batch
    alone = Order(n, size * world, True, seed, 0, 1).draw().batches
    together = [torch.cat(step) for step in zip(*draws)]
    assert all(torch.equal(a, b) for a, b in list(zip(alone, together))[: len(together) - 1])


def test_epochs_differ_and_can_be_taken_up(written):
    dataset = load_dataset(written("digits"), 0)
    split = dataset.val()
    batches = Batches(split, dataset, 50, train=True, seed=5)
    first, second = list(batches), list(batches)
    assert not torch.equal(first[0][0], second[0][0])
    later = Batches(split, dataset, 50, train=True, seed=5)
    later.epoch = 1
    torch.manual_seed(99)  # what else was drawn is no matter
    assert all(torch.equal(a[0], b[0]) and torch.equal(a[1], b[1]) for a, b in zip(second, later))
    other = next(iter(Batches(split, dataset, 50, train=True, seed=6)))
    assert not torch.equal(first[0][1], other[1])


@pytest.mark.parametrize("name", ["digits", "shards"])
def test_an_image_looks_the_same_to_any_number_of_ranks_and_workers(name, written):
    dataset = load_dataset(written(name), 0)
    split = dataset.train()

    def seen(world, workers):
        shares = [Batches(split, dataset, 8, train=True, rank=r, world=world, workers=workers) for r in range(world)]
        return Counter(image.numpy().tobytes() for batches in shares for images, _ in batches for image in images)

    alone = seen(1, 0)
    assert alone.total() == len(split.labels)
    assert seen(2, 0) == seen(2, 2 if name == "shards" else 0) == alone


def test_two_ranks_of_two_workers_share_tar_shards_out(tmp_path):
    root = write_shards(tmp_path / "shards", [f"{i:03d}.tar" for i in range(10)], each=11)  # more than 8: in processes
    dataset = load_dataset(Data("folder", root / "{000..009}.tar", image_size=72), 0)
    found = Counter()
    for split, train in ((dataset.train(), True), (dataset.val(), False), (dataset.test(), False)):
        steps = []
        for rank in range(2):
            batches = Batches(split, dataset, 5, train=train, rank=rank, world=2, workers=2)
            steps.append(len(batches))
            for images, labels in batches:
                colours = (
                    images * torch.tensor(dataset.std)[:, None, None] + torch.tensor(dataset.mean)[:, None, None]
                ) * 255
                numbers = colours[:, 0, 0, 0].round().int()
                assert torch.equal(numbers % 4, labels)
                found.update(numbers.tolist())
        assert not train or steps[0] == steps[1]
    assert found == Counter(range(110))


@given(most=st.integers(0, 4), flip=st.booleans(), seed=st.integers(0, 99))
def test_augmentation_is_torchvisions_crop_and_flip_image_by_image(most, flip, seed):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(1, 256, (4, 3, 9, 7), generator=generator).to(torch.uint8)
    shift = torch.randint(-most, most + 1, (4, 2), generator=generator)
    mirrored = torch.rand(4, generator=generator) < 0.5 * flip
    ours = augment(images, shift, mirrored)
    for image, (down, right), mirror, mine in zip(images, shift.tolist(), mirrored, ours):
        theirs = v2.functional.crop(v2.functional.pad(image, [most]), most + down, most + right, 9, 7)
        assert torch.equal(mine, v2.functional.horizontal_flip(theirs) if mirror else theirs)


def test_images_in_memory_are_resized_batch_by_batch(written):
    dataset = load_dataset(Data("digits", image_size=48), 0)
    images, _ = next(iter(Batches(dataset.test(), dataset, 4)))
    assert dataset.test().images.shape[-1] == 32
    assert images.shape == (4, 1, 48, 48)


def test_evaluation_crops_as_torchvisions_weights_expect(tmp_path):
    root = write_images(tmp_path, ("train", "val"), (300, 260), n=2)
    dataset = load_dataset(Data("imagenet", root), 0)
    ours, _ = next(iter(Batches(dataset.test(), dataset, 1, workers=0)))
    image = Image.open(root / "val" / "cat" / "0.png")
    torch.testing.assert_close(ours[0], ResNet18_Weights.DEFAULT.transforms()(image), atol=1e-6, rtol=0)


# modes


def test_other_modes_become_rgb_and_it_is_said(tmp_path, caplog):
    caplog.set_level("INFO", "experiments")
    root = write_images(tmp_path, n=3)
    base = Image.fromarray(noise(32, 32, 3))
    palette = base.quantize(16)
    files = {"L": base.convert("L"), "LA": base.convert("LA"), "RGBA": base.convert("RGBA"), "P": palette}
    files |= {"bilevel": base.convert("1"), "P transparent": palette.copy()}
    files["P transparent"].info["transparency"] = bytes(range(16))
    for name, image in files.items():
        save(root / "test" / "cat" / f"{name}.png", image)
    save(root / "test" / "cat" / "CMYK.jpg", base.convert("CMYK"))
    split = load_dataset(Data("folder", root), 0).test()
    assert split.images.shape == (13, 3, 32, 32)
    said = [r.getMessage() for r in caplog.records]
    assert said == ["7 of 13 images were not RGB and have been converted: 2 P, 1 CMYK, 1 L, 1 LA, 1 RGBA, 1 1"]
    names = sorted(path.name for path in (root / "test" / "cat").iterdir())
    shown = dict(zip(names, split.images))
    assert torch.equal(shown["RGBA.png"], torch.from_numpy(np.array(base)).permute(2, 0, 1))  # alpha is dropped
    assert torch.equal(shown["L.png"][0], torch.from_numpy(np.array(base.convert("L"))))
    assert torch.equal(shown["L.png"][0], shown["L.png"][2])


def test_workers_have_no_part_in_a_runs_name():
    assert Config(data=Data(workers=3)).name == Config().name


# refusals: one sentence, exit code 2, nothing written


def damage(path, how):
    content = path.read_bytes()
    if how == "missing":
        path.unlink()
    elif how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        path.write_bytes(bytes(255 - b for b in content[:64]) + content[64:])


PUBLIC = {
    "mnist": "MNIST/raw/t10k-images-idx3-ubyte",
    "fashion-mnist": "FashionMNIST/raw/train-labels-idx1-ubyte",
    "cifar10": "cifar-10-batches-py/data_batch_3",
    "cifar100": "cifar-100-python/train",
    "svhn": "train_32x32.mat",
}


def said(arguments, tmp_path, capsys):
    """The sentence with which the command line is refused."""
    arguments = [*map(str, arguments), "--out", str(tmp_path / "runs"), "--kernel", "svd", "--max-epochs", "1"]
    return refused(main, arguments, tmp_path, capsys)


@pytest.mark.parametrize("how", ["missing", "truncated", "corrupt"])
@pytest.mark.parametrize("name", PUBLIC)
def test_public_datasets_that_are_not_whole(name, how, written, tmp_path, capsys):
    data = written(name)
    damage(data.data_root / PUBLIC[name], how)
    model = ["--model", "lenet"]
    text = said(["--dataset", name, "--data-root", data.data_root, *model], tmp_path, capsys)
    assert PUBLIC[name] in text
    assert ("by hand" if how == "missing" else "MD5" if "mnist" not in name else "idx format") in text


def truncated_jpeg(root):
    path = save(root / "train" / "cat" / "0.jpg", Image.fromarray(noise(32, 32, 3)))
    damage(path, "truncated")


def corrupt_file(root):
    (root / "train" / "dog" / "x.png").write_bytes(b"no image at all")


def other_size(root):
    save(root / "train" / "dog" / "x.png", Image.fromarray(noise(32, 31, 3)))


def other_size_in_a_small_set(root):
    save(root / "test" / "dog" / "x.png", Image.fromarray(noise(16, 16, 3)))


def empty_class(root):
    (root / "train" / "eel").mkdir()
    save(root / "test" / "eel" / "0.png", Image.fromarray(noise(32, 32, 3)))


def empty_test_class(root):
    for path in (root / "test" / "dog").iterdir():
        path.unlink()


def other_classes(root):
    (root / "test" / "dog").rename(root / "test" / "wolf")


def sixteen_bits(root):
    save(root / "train" / "cat" / "deep.png", Image.fromarray(noise(32, 32).astype(np.uint16) * 257))


def single_image(root):
    for path in sorted((root / "train" / "cat").iterdir())[1:]:
        path.unlink()


def only_large(root):
    for path in root.rglob("*.png"):
        save(path, Image.fromarray(noise(70, 90, 3)))


FOLDERS = {
    truncated_jpeg: r"image must be a whole file, got .*train/cat/0.jpg \(.*truncated",
    corrupt_file: "image must be one that PIL can read, got .*train/dog/x.png",
    other_size: r"images must be of one size, got .*; pass --image-size",
    other_size_in_a_small_set: r"images must be of one size, got .*; pass --image-size",
    empty_class: "class 'eel' in .*train must be a class with images, got 'no image'",
    empty_test_class: "class 'dog' in .*test must be a class with images, got 'no image'",
    other_classes: r"classes in .*test must be those of train: \['cat', 'dog'\], got \['cat', 'wolf'\]",
    sixteen_bits: "mode of .*deep.png must be RGB, or one that becomes RGB: .*, got 'I;16'",
    single_image: "class 'cat' must be one of 2 images or more, to train and to validate",
    only_large: "image size must be given for images of more than 64 pixels .*, got '.* of 90 x 70 pixels'",
}


@pytest.mark.parametrize("spoil", FOLDERS, ids=lambda spoil: spoil.__name__)
def test_folders_that_cannot_be_used(spoil, tmp_path, capsys):
    root = write_images(tmp_path / "data")
    spoil(root)
    text = said(["--dataset", "folder", "--data-root", root, "--model", "resnet20"], tmp_path, capsys)
    assert re.search(FOLDERS[spoil], text), text


def test_an_image_on_disk_that_is_corrupt_stops_training_with_its_name(tmp_path, capsys):
    root = write_images(tmp_path / "data", size=(72, 72), n=6)
    path = root / "train" / "dog" / "3.png"
    damage(path, "truncated")
    arguments = (
        f"--dataset folder --data-root {root} --image-size 66 --model resnet20 --kernel svd --max-epochs 1 --workers 2"
    )
    assert main([*arguments.split(), "--out", str(tmp_path / "runs")]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith(f"error: image must be a whole file, got {path}"), last


def deep_image(root):
    save(root / "train" / "cat" / "3.png", Image.fromarray(noise(90, 80).astype(np.uint16) * 257))


IMAGENET = {  # of JPEG files of 90 x 80 pixels; what is seen before training leaves nothing behind
    "a missing class": (
        lambda root: shutil.rmtree(root / "train" / "dog"),
        r"classes in .*train must be those of train: \['cat', 'dog'\], got \['cat'\]",
    ),
    "an empty class": (
        lambda root: [path.unlink() for path in (root / "train" / "dog").iterdir()],
        "class 'dog' in .*train must be a class with images, got 'no image'",
    ),
    "an empty class to test": (
        lambda root: [path.unlink() for path in (root / "val" / "dog").iterdir()],
        "class 'dog' in .*val must be a class with images, got 'no image'",
    ),
    "no training images": (
        lambda root: shutil.rmtree(root / "train"),
        "data root must be a folder with train/SYNSET/FILE, to train",
    ),
    "a truncated test image": (
        lambda root: damage(root / "val" / "cat" / "0.jpg", "truncated"),
        r"image must be a whole file, got .*val/cat/0.jpg \(.*truncated",
    ),
    "a corrupt test image": (
        lambda root: damage(root / "val" / "cat" / "0.jpg", "corrupt"),
        "image must be one that PIL can read, got .*val/cat/0.jpg",
    ),
}


@pytest.mark.parametrize("how", IMAGENET)
def test_imagenet_that_cannot_be_used(how, written, tmp_path, capsys):
    data = written("imagenet")
    spoil, words = IMAGENET[how]
    spoil(data.data_root)
    arguments = "--dataset imagenet --image-size 72 --workers 0 --model test_data:tiny --data-root"
    text = said([*arguments.split(), data.data_root], tmp_path, capsys)
    assert re.search(words, text), text


IN_TRAINING = {
    "truncated": (lambda root: damage(root / "train" / "cat" / "3.jpg", "truncated"), "image must be a whole file"),
    "corrupt": (lambda root: damage(root / "train" / "cat" / "3.jpg", "corrupt"), "image must be one that PIL can"),
    "mode": (
        lambda root: deep_image(root) or (root / "train" / "cat" / "3.jpg").unlink(),
        "mode of .*3.png must be RGB, or one that becomes RGB",
    ),
}


@pytest.mark.parametrize("how", IN_TRAINING)
def test_imagenet_with_an_image_that_only_training_meets(how, written, tmp_path, capsys):
    data = written("imagenet")
    spoil, words = IN_TRAINING[how]
    spoil(data.data_root)
    arguments = "--dataset imagenet --image-size 72 --workers 0 --model test_data:tiny --max-epochs 1 --no-track"
    out = ["--data-root", str(data.data_root), "--out", str(tmp_path / "runs")]
    assert main([*arguments.split(), *out]) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.match(f"error: {words}", last), last
    assert not list(tmp_path.rglob("*.safetensors"))


def cut_line(path):
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")


BIRDS = {
    "a missing image": (
        lambda root: (root / "images" / "001.Albatross" / "3.jpg").unlink(),
        r"images of images.txt in .* must be below images/, .*, got \['001.Albatross/3.jpg'\]",
    ),
    "an image more": (
        lambda root: save(root / "images" / "001.Albatross" / "x.jpg", Image.fromarray(noise(80, 90, 3))),
        r"images in .* must be listed in images.txt, got \['001.Albatross/x.jpg'\]",
    ),
    "a list that ends early": (
        lambda root: cut_line(root / "train_test_split.txt"),
        r"numbers in .* must be in images.txt and in train_test_split.txt alike, got \['20'\]",
    ),
    "a list that is torn": (
        lambda root: (root / "images.txt").write_text("1 001.Albatross/0.jpg\n2"),
        "lines of .*images.txt' must be a number and a value each|lines of must be a number and a value each",
    ),
    "an empty class": (
        lambda root: [path.unlink() for path in (root / "images" / "002.Auklet").iterdir()],
        "class '002.Auklet' in .*images must be a class with images, got 'no image'",
    ),
    "a truncated image": (
        lambda root: damage(root / "images" / "001.Albatross" / "2.jpg", "truncated"),
        "image must be a whole file, got .*images/001.Albatross/2.jpg",
    ),
}


@pytest.mark.parametrize("how", BIRDS)
def test_birds_that_cannot_be_used(how, written, tmp_path, capsys):
    data = written("birds")
    spoil, words = BIRDS[how]
    spoil(data.data_root)
    arguments = "--dataset folder --image-size 72 --workers 0 --model test_data:tiny --data-root"
    text = said([*arguments.split(), data.data_root], tmp_path, capsys)
    assert re.search(words, text), text


def test_an_image_in_a_shard_that_is_corrupt_is_named(tmp_path, capsys):
    root = write_shards(tmp_path / "shards", ["train-0.tar", "val-0.tar"])
    path = root / "train-0.tar"
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\x89PNG", b"none"))
    words = "--dataset imagenet --image-size 72 --workers 0 --model test_data:tiny --max-epochs 1 --no-track"
    arguments = [*words.split(), "--data-root", str(root / "{train,val}-0.tar"), "--out", str(tmp_path / "runs")]
    assert main(arguments) == 2
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.match(r"error: image must be one that PIL can read, got .*train-0.tar", last), last


def tiny(classes, channels):
    """A network that costs nothing."""
    pooled = nn.Sequential(nn.Conv2d(channels, 8, 7, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(pooled, nn.Linear(8, classes))


@pytest.mark.parametrize("name", ["imagenet", "shards", "svhn"])
def test_a_run_from_disk_to_the_table(name, written, tmp_path, capsys):
    data = written(name)
    size = ["--image-size", str(data.image_size)] if data.image_size else []
    arguments = [
        "--dataset",
        data.dataset,
        "--data-root",
        str(data.data_root),
        *size,
        "--workers",
        "1" if name == "shards" else "0",
    ]
    command = "--model test_data:tiny --kernel svd --budget params=0.9 --max-epochs 1 --finetune-epochs 1"
    assert main([*arguments, *command.split(), "--no-track", "--out", str(tmp_path / "runs")]) == 0
    assert f"{SIZES[name][2]} test images" in capsys.readouterr().out


SHARDS = {
    "{000..002}.tar": r"shards must be files that exist, got \['.*002.tar'\]",
    "{000..001.tar": "data root must have a closing brace for each opening one",
    "cut.tar": "shard must be a whole tar file, not one that was cut off, got '.*cut.tar'",
    "text.tar": "shard must be a whole, uncompressed tar file, got .*text.tar",
    "unlabelled.tar": "images in .*unlabelled.tar must be each beside a .cls",
    "words.tar": "class of folder.v1/00000.cls in .*words.tar must be a number in ASCII, got b'cat'",
    "gap.tar": "class '1' in .*gap.tar must be a class with images",
    "{train-0,000}.tar": "names of the shards must be with train and with val or test in them",
}


@pytest.mark.parametrize("pattern", SHARDS)
def test_shards_that_cannot_be_used(pattern, tmp_path, capsys):
    root = write_shards(tmp_path / "shards", ["000.tar", "001.tar", "train-0.tar"])
    whole = (root / "000.tar").read_bytes()
    (root / "cut.tar").write_bytes(whole[: len(whole) // 2 - 700])
    (root / "text.tar").write_text("no tar")
    write_shard(root / "unlabelled.tar", range(8), label=lambda i, _: "1")
    with tarfile.open(root / "unlabelled.tar", "a") as shard:
        member = tarfile.TarInfo("alone.png")
        member.size = 3
        shard.addfile(member, io.BytesIO(b"abc"))
    write_shard(root / "words.tar", range(8), label=lambda i, _: "cat")
    write_shard(root / "gap.tar", range(8), label=lambda i, _: str(2 * (i % 2)))
    text = said(["--dataset", "imagenet", "--data-root", root / pattern, "--model", "resnet18"], tmp_path, capsys)
    assert re.search(SHARDS[pattern], text), text


def test_imagenet_that_is_not_there_says_which_files_to_put_where(tmp_path, capsys):
    root = tmp_path / "data"
    root.mkdir()
    text = said(["--dataset", "imagenet", "--data-root", root, "--model", "resnet18"], tmp_path, capsys)
    for word in ("train/SYNSET/FILE", "val/SYNSET/FILE", "ILSVRC2012_img_train.tar", "ILSVRC2012_devkit_t12.tar.gz"):
        assert word in text


def test_an_idx_file_of_other_images_is_refused(tmp_path, capsys):
    write_idx(tmp_path / "data", side=20)
    text = said(["--dataset", "mnist", "--data-root", tmp_path / "data"], tmp_path, capsys)
    assert "must be of 28 x 28 pixels, got (20, 20)" in text


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the development data is not here")
@pytest.mark.parametrize(("model", "top1"), [("resnet20", 88.28), ("resnet56", 89.63)])
def test_accuracy_of_the_public_checkpoints(model, top1, tmp_path):
    with zipfile.ZipFile(SHARED / "data" / "cifar10-jpeg-test.zip") as archive:
        archive.extractall(tmp_path)
    (tmp_path / "train").symlink_to(tmp_path / "test")  # an evaluation reads its class names only
    dataset = load_dataset(Data("folder", tmp_path), 0)
    network = build(model, len(dataset.classes), dataset.channels)
    load_checkpoint(network, SHARED / "checkpoints" / f"{model}-cifar10-jpeg.safetensors")
    assert accuracy(network, dataset.test(), dataset, "cpu").top1 == pytest.approx(top1, abs=0.05)
