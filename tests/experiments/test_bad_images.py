"""Folders and images that cannot be used: named in a sentence, before training where that is possible."""

import re
import shutil

import numpy as np
import pytest
from images_on_disk import damage, noise, png_of_16_bits, said, save, write_images, write_named
from PIL import Image

from experiments.run.__main__ import main

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture
def written(tmp_path, monkeypatch):
    """name -> Data of a tiny dataset in the format of the real one."""
    return lambda name: write_named(name, tmp_path / "data", monkeypatch)


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


def none_but_other_endings(root):
    for path in (root / "train" / "dog").iterdir():
        path.rename(path.with_suffix(".gif"))


def one_class(root):
    for part in ("train", "test"):
        shutil.rmtree(root / part / "dog")


def train_alone(root):
    shutil.rmtree(root / "test")


def nothing_to_train(root):
    shutil.rmtree(root / "train")


def other_classes(root):
    (root / "test" / "dog").rename(root / "test" / "wolf")


def sixteen_bits(root):
    save(root / "train" / "cat" / "deep.png", Image.fromarray(noise(32, 32).astype(np.uint16) * 257))


def deep_colour(root):
    """48-bit PNG, which PIL opens as RGB and cuts to its high bytes."""
    pixels = np.arange(32 * 32 * 3).reshape(32, 32, 3)
    (root / "train" / "cat" / "deep.png").write_bytes(png_of_16_bits(pixels))


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
    none_but_other_endings: "class 'dog' in .*train must be a class with images, got 'none but 10 .gif'",
    one_class: r"classes of .*data must be two or more, to tell apart, got \['cat'\]",
    train_alone: "data root must be a folder with images as train/CLASS/FILE and test/CLASS/FILE, or as",
    nothing_to_train: "data root must be one with train/CLASS/FILE to train or calibrate",
    other_classes: r"classes in .*test must be those of train: \['cat', 'dog'\], got \['cat', 'wolf'\]",
    sixteen_bits: "mode of .*deep.png must be RGB, or one that becomes RGB: .*, got 'I;16'",
    deep_colour: "bits a channel of .*deep.png must be at most 8: of more the range is not known, got 16",
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
        r"classes in .*train must be those of val: \['cat', 'dog'\], got \['cat'\]",
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
    arguments = "--dataset imagenet --image-size 72 --workers 0 --model images_on_disk:tiny --data-root"
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
    arguments = "--dataset imagenet --image-size 72 --workers 0 --model images_on_disk:tiny --max-epochs 1 --no-track"
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
    arguments = "--dataset folder --image-size 72 --workers 0 --model images_on_disk:tiny --data-root"
    text = said([*arguments.split(), data.data_root], tmp_path, capsys)
    assert re.search(words, text), text
