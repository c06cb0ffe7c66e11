"""Every data set, on tiny files in its own format: its splits, images and labels, and a run from disk to the table."""

import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from images_on_disk import noise, save, write_images, write_named
from PIL import Image

from experiments.lab.config import Data
from experiments.lab.data import DATASETS, load_dataset
from experiments.lab.data.batches import Batches
from experiments.lab.evaluation.evaluate import accuracy
from experiments.lab.models import build
from experiments.lab.models.weights import load_checkpoint
from experiments.run.__main__ import main

pytestmark = pytest.mark.usefixtures("no_network")
SHARED = Path(__file__).parents[3] / "shared"  # development data beside the checkout, absent elsewhere


@pytest.fixture
def written(tmp_path, monkeypatch):
    """name -> Data of a tiny dataset in the format of the real one."""
    return lambda name: write_named(name, tmp_path / "data", monkeypatch)


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


def test_imagenet_can_be_evaluated_without_training_images(tmp_path):
    write_images(tmp_path, ("val",), (90, 80))
    dataset = load_dataset(Data("imagenet", tmp_path, image_size=72), 0)
    assert len(dataset.test().labels) == 20
    with pytest.raises(ValueError, match="data root must be a folder with train/SYNSET/FILE, to train"):
        dataset.train()


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


# shards by a process of its own; test_shards.py reads them here
@pytest.mark.parametrize("name", ["imagenet", pytest.param("shards", marks=pytest.mark.slow), "svhn"])
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
    command = "--model images_on_disk:tiny --kernel svd --budget params=0.9 --max-epochs 1 --finetune-epochs 1"
    assert main([*arguments, *command.split(), "--no-track", "--out", str(tmp_path / "runs")]) == 0
    assert f"{SIZES[name][2]} test images" in capsys.readouterr().out


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
