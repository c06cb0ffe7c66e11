"""Every command of the right column of docs/guides/commands.md, run as it stands there on small real data."""

import hashlib
import json
import pickle
import re
import shlex
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_digits
from torchvision import datasets

from experiments import __main__ as verbs
from experiments.lab.command import normalise_arguments
from experiments.lab.models import build, weights

ROOT = Path(__file__).parents[2]
TABLE = re.findall(
    r"^\| .* \| `python -m ([^`]*)` \|$", (ROOT / "docs" / "guides" / "commands.md").read_text(), re.MULTILINE
)
# shorter, smaller and in a folder of the test's; a later option wins over an earlier one
SHORT = "--max-epochs 1 --batch-size 16 --workers 0 --accelerator cpu --no-track"
SMALLER = {"imagenet": "--image-size 72", "mnist": "--image-size 96"}  # of images that are 224 pixels a side


def md5(path):
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def digits(side, n):
    """(images (n, side, side) uint8, labels (n,)) of scikit-learn's real digits, enlarged."""
    raw = load_digits()
    images = [np.array(Image.fromarray((x * 15.9).astype("uint8")).resize((side, side))) for x in raw.images[:n]]
    return np.stack(images), raw.target[:n].astype(np.uint8)


def write_mnist(root, monkeypatch):
    folder = root / "MNIST" / "raw"
    folder.mkdir(parents=True)
    for part, n in (("train", 120), ("t10k", 40)):
        images, labels = digits(28, n)
        for name, array in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            header = struct.pack(f">I{array.ndim}I", 0x800 + array.ndim, *array.shape)
            (folder / name).write_bytes(header + array.tobytes())


def write_cifar(make):
    def write(root, monkeypatch):
        folder = root / make.base_folder
        folder.mkdir()
        key = "fine_labels" if make is datasets.CIFAR100 else "labels"
        images, labels = digits(32, 20)
        rows = np.repeat(images[:, None], 3, 1).reshape(20, -1)
        for attribute in ("train_list", "test_list"):
            for name, _ in getattr(make, attribute):
                (folder / name).write_bytes(pickle.dumps({"data": rows, key: labels.tolist()}))
            listed = [[name, md5(folder / name)] for name, _ in getattr(make, attribute)]
            monkeypatch.setattr(make, attribute, listed)
        (folder / make.meta["filename"]).write_bytes(pickle.dumps({make.meta["key"]: [str(i) for i in range(10)]}))
        monkeypatch.setattr(make, "meta", make.meta | {"md5": md5(folder / make.meta["filename"])})

    return write


def write_svhn(root, monkeypatch):
    images, labels = digits(32, 40)
    content = {
        "X": np.repeat(images[..., None], 3, 3).transpose(1, 2, 3, 0),
        "y": np.where(labels, labels, 10)[:, None],
    }
    for part in ("train", "test"):
        url, name, _ = datasets.SVHN.split_list[part]
        savemat(root / name, content)
        monkeypatch.setitem(datasets.SVHN.split_list, part, [url, name, md5(root / name)])


def write_imagenet(root, monkeypatch):
    for part in ("train", "val"):
        for number, (image, label) in enumerate(zip(*digits(90, 40))):
            if label < 2:
                path = root / part / str(label) / f"{number}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image).convert("RGB").save(path)


WRITE = {
    "mnist": write_mnist,
    "cifar10": write_cifar(datasets.CIFAR10),
    "cifar100": write_cifar(datasets.CIFAR100),
    "svhn": write_svhn,
    "imagenet": write_imagenet,
}


def factory(classes, channels):
    """A network of the user's own."""
    return torch.nn.Sequential(
        torch.nn.Conv2d(channels, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, classes)
    )


def marked(command):
    """LeNet in one process takes seconds, the other networks up to some minutes."""
    return pytest.param(command, marks=[] if "LeNet" in command and "--devices=2" not in command else pytest.mark.slow)


SIZES = {"imagenet": (2, 3, 72), "cifar10": (10, 3, 32), "mnist": (10, 1, 96)}  # classes, channels, pixels
TRAINS = [marked(command) for command in TABLE if re.match("experiments.(run|tune|search)", command)]


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory):
    """(folder of runs, their names): the dense network, and two kernels."""
    out = tmp_path_factory.mktemp("two")
    for kernels in ("None", "svd dct"):
        words = f"run --kernel {kernels} --max-epochs 1 --finetune-epochs 0 --no-track --out {out}"
        assert verbs.main(words.split()) == 0
    return out, [path.name for path in sorted(out.iterdir())]


def options(command):
    """Option -> its value, as the command line has them."""
    words = normalise_arguments(shlex.split(command))
    return dict(zip(words, [*words[1:], ""]))


@pytest.mark.parametrize("command", TRAINS)
def test_a_command_that_trains(command, tmp_path, monkeypatch, capsys):
    given, data, out = options(command), tmp_path / "data", tmp_path / "runs"
    monkeypatch.setattr(sys.modules["layers.calibration.calibrate"], "MOST_ROWS", 1152)  # minutes, and no other promise
    dataset, model = given["--dataset"], given["--model"]
    data.mkdir()
    WRITE[dataset](data, monkeypatch)
    if ":" in model:
        network, model = factory(2, 3), "test_commands:factory"
    elif {"--pretrained", "--checkpoint"} & given.keys():
        network = build(model, *SIZES[dataset])
    if {"--pretrained", "--checkpoint"} & given.keys():
        torch.save(network.state_dict(), tmp_path / "file.pth")
        monkeypatch.setattr(weights, "_downloaded", lambda _: network.state_dict())  # the real one is not here
    verb, *words = shlex.split(command)
    places = {"DIR": str(data), "FILE": str(tmp_path / "file.pth"), "package.module:factory": model}
    words = [re.sub("|".join(map(re.escape, places)), lambda found: places[found[0]], word) for word in words]
    if verb == "experiments.tune":
        words += ["--trials", "1", "--epochs", "1", "1", "--batch-sizes", "16", "--accelerator", "cpu"]
    elif verb == "experiments.search":
        words += [*SMALLER[dataset].split(), "--trials", "2", "--epochs", "1", "--calibration-images", "20"]
        words += ["--batch-size", "16", "--accelerator", "cpu"]
    else:
        words += SHORT.split() + ([] if "--frequency" in words else ["--finetune-epochs", "1"])
        for name in ("--max-epochs", "--finetune-epochs"):  # none is what some commands are about
            words += [name, "0"] if given.get(name) == "0" else []
        words += [] if "--latency-batches" in given else ["--latency-batches", "1"]
        if dataset == "imagenet" or given.get("--image-size") == "224":
            words += SMALLER[dataset].split()
        if "alexnet" in command and not {"--budget", "--frequency"} & given.keys():
            # of small images its Linear layers are half the MACs
            words += ["--budget", "macs=0.7"]
    words = [verb.removeprefix("experiments."), *words, "--out", str(out)]
    if "--devices=2" in words:  # whose second process is this command given again
        assert subprocess.run([sys.executable, "-m", "experiments", *words], cwd=ROOT, check=False).returncode == 0
    else:
        assert verbs.main(words) == 0, capsys.readouterr().err
    (folder,) = out.iterdir()
    if verb in ("experiments.tune", "experiments.search"):
        assert (folder / "report.html").is_file()
        return
    results = json.loads((folder / "results.json").read_text())
    kernels = re.findall("--kernel[ =]([a-z ]+)", command)
    wanted = kernels[0].split() if kernels else []
    thin, after = given.get("--prune-channels"), ["--prune" in given and "pruned", given.get("--quantise")]
    if thin or any(after):
        wanted = ["-".join(filter(None, (thin and "thin", kernel, *after))) for kernel in wanted or [None]]
    assert [row["network"] for row in results["rows"]] == ["dense", *wanted]
    assert results["config"]["model"] == model
    layers = given.get("--layers", "all")
    assert results["config"]["layers"] == {"fc": "linear", "dense": "linear"}.get(layers, layers)


@pytest.mark.parametrize("command", [row for row in TABLE if re.match("experiments.(compare|list)", row)])
def test_a_command_that_compares(command, two_runs, tmp_path, monkeypatch, capsys):
    out, names = two_runs
    verb, *words = shlex.split(command)
    runs = iter(names)
    words = [next(runs) if word == "RUN" else word for word in words]
    monkeypatch.chdir(tmp_path)  # where files without a folder go
    assert verbs.main([verb.removeprefix("experiments."), *words, "--runs", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "dense" in printed or all(name in printed for name in names)
    written = [word for word in words if word.startswith("table.")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(written)


@pytest.mark.parametrize("command", [row for row in TABLE if row.startswith("pytest")])
def test_a_command_that_tests(command):
    assert all((ROOT / word).is_file() for word in command.split()[1:])


def test_every_row_of_the_page_is_one_of_these():
    rows = [
        line
        for line in (ROOT / "docs" / "guides" / "commands.md").read_text().splitlines()
        if re.match(r"\| (`|the )", line)
    ]
    assert len(rows) == len(TABLE) + 1  # one row says to give a command again
    assert all(re.match(r"(experiments\.(run|tune|search|compare|list)|pytest) ?", row) for row in TABLE)


@pytest.mark.parametrize(
    ("given", "read"),
    {
        "--kernel=dct --max_epochs=5": "--kernel dct --max_epochs 5",
        "--kernel None --layers None --devices=None --rep": "--kernel --rep",
        "--model=LeNet --dataset MNIST": "--model lenet --dataset mnist",
        "--model=My.module:Net --data-root=A/B=C": "--model My.module:Net --data-root A/B=C",
        "None --budget macs=0.5": "None --budget macs=0.5",
    }.items(),
)
def test_how_older_command_lines_are_read(given, read):
    assert normalise_arguments(given.split()) == read.split()
