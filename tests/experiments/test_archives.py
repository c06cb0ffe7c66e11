"""Downloads and archives: unpacked whole or not at all, and what is missing or damaged is named."""

import gzip
import tarfile

import pytest
import torch
from images_on_disk import (
    damage,
    md5,
    noise,
    said,
    save,
    write_idx,
    write_named,
)
from PIL import Image
from torchvision import datasets

from experiments.lab.config import Data
from experiments.lab.data import load_dataset

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture
def written(tmp_path, monkeypatch):
    """name -> Data of a tiny dataset in the format of the real one."""
    return lambda name: write_named(name, tmp_path / "data", monkeypatch)


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


PUBLIC = {
    "mnist": "MNIST/raw/t10k-images-idx3-ubyte",
    "fashion-mnist": "FashionMNIST/raw/train-labels-idx1-ubyte",
    "cifar10": "cifar-10-batches-py/data_batch_3",
    "cifar100": "cifar-100-python/train",
    "svhn": "train_32x32.mat",
}


@pytest.mark.parametrize("how", ["missing", "truncated", "corrupt"])
@pytest.mark.parametrize("name", PUBLIC)
def test_public_datasets_that_are_not_whole(name, how, written, tmp_path, capsys):
    data = written(name)
    damage(data.data_root / PUBLIC[name], how)
    model = ["--model", "lenet"]
    text = said(["--dataset", name, "--data-root", data.data_root, *model], tmp_path, capsys)
    assert PUBLIC[name] in text
    assert ("by hand" if how == "missing" else "MD5" if "mnist" not in name else "idx format") in text


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
