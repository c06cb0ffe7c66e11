"""Images as a network was trained to see them: chosen by options, applied alike everywhere, kept with every result."""

import json
import re
from pathlib import Path

import pytest
import torch
from images_on_disk import write_images, write_named
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torchvision.models import ResNet50_Weights
from torchvision.transforms import v2

from experiments.lab.config import Config, Data
from experiments.lab.data import load_dataset
from experiments.lab.data.batches import Batches
from experiments.lab.data.preprocessing import Preprocessing
from experiments.lab.evaluation.first_look import warn_of_shared
from experiments.lab.models.weights import shown_as_to
from experiments.plan import main as plan
from experiments.run.__main__ import main

pytestmark = pytest.mark.usefixtures("no_network")
MNIST = Path(__file__).parents[3] / "shared" / "data" / "mnist"  # development data beside the checkout


class Nearest(nn.Sequential):
    """The class whose mean image is nearest: 2 c.x - |c|^2."""

    def __init__(self, classes, channels, size):
        super().__init__(nn.Flatten(), nn.Linear(channels * size**2, classes))


def nearest(images, labels, path):
    """The checkpoint of such a network, of images (n, 1, h, w) of floats; its accuracy on images in percent."""
    x = images.flatten(1)
    centres = torch.stack([x[labels == label].mean(0) for label in range(10)])
    save_file({"1.weight": 2 * centres, "1.bias": -(centres**2).sum(1)}, path)

    def top1(images, labels):
        logits = 2 * images.flatten(1) @ centres.T - (centres**2).sum(1)
        return 100 * (logits.argmax(1) == labels).float().mean().item()

    return top1


def run(*words):
    return main([*words, "--max-epochs", "0", "--no-track", "--latency-batches", "1"])


def results(folder):
    (path,) = folder.glob("*/results.json")
    return json.loads(path.read_text())


PLAIN = ["--mean", "none", "--std", "none", "--pad", "none"]


def test_a_checkpoint_of_plain_pixels_is_evaluated_right(tmp_path, capsys):
    """As trained with torchvision's ToTensor and nothing else, on the 8 x 8 pixels of the digits."""
    plain = load_dataset(Data(mean="none", std="none", interpolation="none"), 0)
    train, test = plain.train(), plain.test()
    assert train.images.shape[1:] == (1, 8, 8)
    expected = nearest(train.images / 255, train.labels, tmp_path / "net.safetensors")(test.images / 255, test.labels)
    assert expected > 85
    words = f"--model test_preprocessing:Nearest --checkpoint {tmp_path / 'net.safetensors'} --out {tmp_path / 'runs'}"
    given = "--mean none --std none --interpolation none"
    assert run(*words.split(), *given.split(), "--kernel", "svd", "--budget", "params=0.9") == 0
    found = results(tmp_path / "runs")
    assert found["rows"][0]["top1"] == pytest.approx(expected, abs=1e-4)
    shown = "pixels from 0 to 1; not normalised"
    assert found["preprocessing"]["words"] == shown
    assert found["preprocessing"]["mean"] == [0.0]
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "svd" / "preprocessing.json").read_text()) == found["preprocessing"]
    assert shown in (folder / "report.html").read_text()
    assert shown in " ".join(capsys.readouterr().out.split())
    assert plan([*words.split()[:4], *given.split(), "--kernel", "svd", "--budget", "params=0.9"]) == 0
    assert f"images: {shown}" in capsys.readouterr().out


@pytest.mark.skipif(not MNIST.is_dir(), reason="the development data is not here")
def test_a_checkpoint_of_plain_mnist_is_evaluated_right(tmp_path):
    data = Data("mnist", MNIST, mean="none", std="none", pad="none")
    dataset = load_dataset(data, 0)
    train, test = dataset.train(), dataset.test()
    assert test.images.shape[1:] == (1, 28, 28)
    expected = nearest(train.images / 255, train.labels, tmp_path / "net.safetensors")(test.images / 255, test.labels)
    words = f"--dataset mnist --data-root {MNIST} --model test_preprocessing:Nearest --kernel None"
    more = f"--checkpoint {tmp_path / 'net.safetensors'} --out {tmp_path / 'runs'}"
    assert run(*words.split(), *more.split(), *PLAIN) == 0
    assert results(tmp_path / "runs")["rows"][0]["top1"] == pytest.approx(expected, abs=0.05)


@pytest.mark.skipif(not MNIST.is_dir(), reason="the development data is not here")
def test_a_network_for_images_without_padding_is_told_of_it(tmp_path, capsys):
    words = f"--dataset mnist --data-root {MNIST} --model networks:wide --kernel None --out {tmp_path}"
    assert main(words.split()) == 2
    assert "must fit networks:wide, got 1x32x32, 2 pixels of which on every side are --pad (" in capsys.readouterr().err


@pytest.mark.parametrize("right", [True, False])
def test_a_checkpoint_near_chance_is_said_loudly_with_the_preprocessing_in_use(right, tmp_path, caplog):
    usual = load_dataset(Data(), 0)
    train = usual.train()
    nearest(usual.preprocessing.normalised(train.images), train.labels, tmp_path / "net.safetensors")
    words = f"--model test_preprocessing:Nearest --checkpoint {tmp_path / 'net.safetensors'} --out {tmp_path / 'runs'}"
    assert run(*words.split(), "--kernel", "None", *([] if right else ["--mean", "40", "--std", "0.01"])) == 0
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == (0 if right else 1)
    if not right:
        assert re.match(
            r"WARNING: the trained network names the class of \d+\.\d % of 200 test images, a guess", warnings[0]
        )
        assert "pixels from 0 to 1; less the mean 40, over the deviation 0.01. See the options --mean" in warnings[0]


def test_new_options_that_are_not_given_rename_no_run():
    assert Config().name == "digits-lenet-44136fa3"
    assert Config(data=Data(mean="none")).name != Config().name


def test_options_and_none_are_read_from_the_command_line(tmp_path):
    fixed = "--kernel None --max-epochs 1 --latency-batches 1 --no-track --model images_on_disk:tiny"
    given = "--mean 0.25 --std None --pad 3 --resize 20 --crop 16"
    words = [*fixed.split(), *given.split(), "--out", str(tmp_path)]
    assert main([*words, "--interpolation", "nearest"]) == 0
    preprocessing = results(tmp_path)["preprocessing"]
    assert preprocessing.pop("words").startswith("pixels from 0 to 1; 3 pixels of zeros on every side; shorter side")
    expected = {"mean": [0.25], "std": [1.0], "pad": 3, "resize": 20, "crop": 16, "interpolation": "nearest"}
    assert preprocessing == expected


def test_colour_wants_three_numbers(tmp_path):
    root = write_images(tmp_path)
    with pytest.raises(ValueError, match=r"^mean must be 3 numbers, one for each channel, or none, got \(0.5,\)"):
        load_dataset(Data("folder", root, mean=(0.5,)), 0)


def first(dataset, workers=0):
    return next(iter(Batches(dataset.test(), dataset, 1, workers=workers)))[0][0]


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic"])
def test_images_on_disk_are_seen_as_torchvisions_own_transforms_see_them(name, tmp_path):
    root = write_images(tmp_path, ("train", "val"), (90, 80), n=2)
    mean, std = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)
    data = Data("imagenet", root, mean=mean, std=std, pad=4, resize=77, crop=66, interpolation=name)
    modes = {"nearest": "NEAREST", "bilinear": "BILINEAR", "bicubic": "BICUBIC"}
    theirs = v2.Compose(
        [
            v2.Pad(4),
            v2.Resize(77, getattr(v2.InterpolationMode, modes[name])),
            v2.CenterCrop(66),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(mean, std),
        ]
    )
    image = theirs(Image.open(root / "val" / "cat" / "0.png"))
    torch.testing.assert_close(first(load_dataset(data, 0)), image, atol=1e-6, rtol=0)


def test_images_in_memory_are_padded_resized_and_cropped(tmp_path, monkeypatch):
    data = write_named("cifar10", tmp_path / "data", monkeypatch)
    stored = load_dataset(data, 0).test().images[:1]
    mean = (0.0, 0.5, 1.0)
    seen = first(load_dataset(Data("cifar10", data.data_root, mean=mean, std="none", pad=2, crop=20), 0))
    inside = stored[0, :, 6:26, 6:26] / 255 - torch.tensor(mean)[:, None, None]
    torch.testing.assert_close(seen, inside)
    grown = first(load_dataset(Data("cifar10", data.data_root, mean="none", std="none", resize=48), 0))
    torch.testing.assert_close(grown, v2.functional.resize(stored[0] / 255, [48, 48], antialias=True))


def test_pretrained_weights_bring_the_transform_that_they_were_measured_with(tmp_path):
    root = write_images(tmp_path, ("train", "val"), (300, 260), n=2)
    data = shown_as_to(Data("imagenet", root), "resnet50", None)
    preset = ResNet50_Weights.DEFAULT.transforms()  # resizes to 232, not to 256
    image = Image.open(root / "val" / "cat" / "0.png")
    torch.testing.assert_close(first(load_dataset(data, 0)), preset(image), atol=1e-6, rtol=0)
    older = shown_as_to(Data("imagenet", root), "resnet50", Path("resnet50-0676ba61.pth"))
    assert (older.resize, older.crop) == (256, 224)
    assert shown_as_to(Data(mean="none", crop=200), "resnet50", None).mean == "none"
    assert shown_as_to(Data(crop=200), "resnet50", None).crop == 200
    assert shown_as_to(Data(), "lenet", None) == Data()


def test_training_crops_without_resizing_where_nothing_is_resized(tmp_path):
    root = write_images(tmp_path, ("train", "val"), (90, 80), n=3)
    data = Data("imagenet", root, mean="none", std="none", crop=40, interpolation="none")
    with pytest.raises(ValueError, match="interpolation must be left out with image_size"):
        load_dataset(Data("imagenet", root, image_size=40, interpolation="none"), 0)
    dataset = load_dataset(data, 0)
    images, _ = next(iter(Batches(dataset.train(), dataset, 2, train=True, workers=0)))
    assert images.shape[1:] == (3, 40, 40)


def test_the_same_images_to_train_and_to_test_are_noticed(tmp_path, caplog):
    root = write_images(tmp_path / "data", ("train",))
    (root / "test").symlink_to(root / "train")
    words = f"--dataset folder --data-root {root} --model images_on_disk:tiny --kernel None --max-epochs 1 --no-track"
    assert main([*words.split(), "--latency-batches", "1", "--out", str(tmp_path / "runs")]) == 0
    said = [record.getMessage() for record in caplog.records if "training images too" in record.getMessage()]
    words = "18 of 20 test images are training images too, to the byte: their accuracy says nothing of new images"
    assert said == [words]  # two of the twenty validate


@pytest.mark.parametrize("copied", [0, 3])
def test_copies_among_images_on_disk_are_noticed(copied, tmp_path, caplog):
    root = write_images(tmp_path / "data", ("train", "val"), (90, 80))
    for i in range(copied):
        (root / "val" / "cat" / f"{i}.png").write_bytes((root / "train" / "cat" / f"{i + 4}.png").read_bytes())
    dataset = load_dataset(Data("imagenet", root, image_size=72), 0)
    warn_of_shared(dataset.train(), dataset.test())
    assert len(caplog.records) == (copied > 0)
    assert not copied or re.match("[23] of 20 test images", caplog.records[0].getMessage())  # one may validate


def test_the_sentence_names_every_step():
    whole = Preprocessing((0.5,), (0.25,), 2, 256, 224, "bicubic")
    assert str(whole) == (
        "pixels from 0 to 1; 2 pixels of zeros on every side; shorter side resized to 256 pixels (bicubic); "
        "the middle 224 x 224 cut out; less the mean 0.5, over the deviation 0.25"
    )
