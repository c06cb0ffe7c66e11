"""A network's classes where folders are named otherwise, or are some of them; images of one's own that calibrate."""

import json
import logging

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.lab.config import Data
from experiments.lab.data import load_dataset
from experiments.lab.evaluation.calibration import Calibration
from experiments.lab.models.classes import read_classes

FILES = {
    "list.txt": "ant\nbee\ncat\ndog\n",
    "synsets.txt": "bee wild bee, solitary bee\nant emmet\ncat pussy\ndog hound\n",
    "mapping.txt": "dog 3\nant 1\nbee 0\ncat 2\n",
    "mapping.csv": "dog,3\nant,1\nbee,0\ncat,2\n",
    "list.json": json.dumps(["bee", "ant", "cat", "dog"]),
    "mapping.json": json.dumps({"dog": 3, "ant": 1}),
    "index.json": json.dumps({"0": ["n1", "bee"], "1": ["n2", "ant"], "2": ["n3", "cat"], "3": ["n4", "dog"]}),
}


def images(folder, count=6, size=8):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture
def root(tmp_path):
    for name in ("ant", "dog"):
        images(tmp_path / "images" / "train" / name)
        images(tmp_path / "images" / "test" / name, 2)
    return tmp_path / "images"


def wanted(file):
    return {"ant": 0 if file == "list.txt" else 1, "dog": 3}


@pytest.mark.parametrize("file", FILES)
def test_folders_that_are_some_of_a_networks_classes_have_its_numbers(root, tmp_path, file):
    path = tmp_path / file
    path.write_text(FILES[file])
    data = load_dataset(Data(dataset="folder", data_root=root, classes=str(path)), 0)
    assert len(data.classes) == 4
    for split, count in ((data.test(), 2), (data.train(), 5), (data.val(), 1)):
        labels = wanted(file)
        assert split.labels.tolist() == [labels["ant"]] * count + [labels["dog"]] * count


def test_imagenets_names_are_known():
    known = read_classes("imagenet")
    assert len(known.names) == 1000
    assert known.outputs["tench"] == 0
    assert known.outputs[known.names[999]] == 999


REFUSED = {
    "missing.txt": (None, "classes must be imagenet, or a text file"),
    "empty.txt": ("\n", "classes must be .* not empty"),
    "torn.json": ("{", "classes must be a text file .* got"),
    "numbers.json": ("[1, 2]", "classes must be a text file"),
    "others.txt": ("bee\ncat\n", r"folders of images must be among the 2 classes of .*, got \['ant', 'dog'\]"),
    "twice.txt": ("ant 0\nant 1\ndog 2\n", "of folders that are named once each"),
    "same.txt": ("ant 1\ndog 1\n", "folders of images must be of a class each"),
}


@pytest.mark.parametrize("file", REFUSED)
def test_a_list_that_does_not_fit_is_one_sentence(root, tmp_path, file):
    text, sentence = REFUSED[file]
    if text is not None:
        (tmp_path / file).write_text(text)
    with pytest.raises(ValueError, match=sentence):
        load_dataset(Data(dataset="folder", data_root=root, classes=str(tmp_path / file)), 0)
    with pytest.raises(ValueError, match="classes must be left out"):
        load_dataset(Data(classes=str(tmp_path / file)), 0)


def test_images_of_a_folder_without_labels_calibrate(root, tmp_path, caplog):
    own = tmp_path / "own"
    images(own / "a" / "b", 5)
    images(own, 2)
    (own / "torn.png").write_bytes(b"no image")
    (own / "notes.txt").write_text("no image either")
    with caplog.at_level(logging.WARNING):
        data = load_dataset(Data(dataset="folder", data_root=root, calibration_root=own), 0)
        drawn = Calibration.draw(torch.nn.Flatten(), data, 7, 0, "cpu")
    assert "1 of 8 images in" in caplog.text
    assert sum(len(batch) for batch, _ in drawn.batches) == 7
    assert len(data.train().labels) == 10


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda own: None, "calibration root must be a folder of images, got"),
        (lambda own: own.mkdir(), "calibration root must be a folder of images that end in .*, which is empty"),
        (lambda own: (own.mkdir(), (own / "a.txt").write_text("")), "that end in .* with 1 .txt"),
        (lambda own: (own.mkdir(), (own / "a.png").write_text("")), "of whose 1 none can be read"),
    ],
)
def test_a_folder_without_a_readable_image_is_one_sentence(root, tmp_path, make, sentence):
    make(tmp_path / "own")
    data = load_dataset(Data(dataset="folder", data_root=root, calibration_root=tmp_path / "own"), 0)
    with pytest.raises(ValueError, match=sentence):
        data.calibration()
