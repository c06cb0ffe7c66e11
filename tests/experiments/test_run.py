"""`python -m experiments.run`, as a user calls it: the whole pipeline on real data, every refusal in a sentence."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from quick_runs import QUICK, results
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from experiments.lab.config import Compression, Config, Network, Output, Training
from experiments.lab.data.folders import inner
from experiments.lab.models.cifar_resnet import resnet20
from experiments.lab.models.lenet import LeNet
from experiments.lab.training.classifier import Classifier
from experiments.run.__main__ import main
from layers import load

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(run folder, arguments) of a short default run."""
    out = tmp_path_factory.mktemp("runs")
    arguments = [*QUICK, "--out", str(out)]
    assert main(arguments) == 0
    (folder,) = out.iterdir()
    return folder, arguments


def test_the_folder_holds_the_table_the_report_and_the_networks(run):
    folder, _ = run
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *(
            "config.json",
            "dense.safetensors",
            "dct",
            "svd",
            "spatial",
            "history.json",
            "evidence.json",
            "results.json",
            "results.csv",
            "report.html",
        )
    }
    rows = results(folder)["rows"]
    with (folder / "results.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [row["network"] for row in rows] == [row["network"] for row in table] == ["dense", "dct", "svd", "spatial"]
    for row, line in zip(rows, table):
        assert float(line["top1"]) == row["top1"] > 30  # of ten classes, after two epochs
        assert row["latency_1"] > 0
        assert row["latency_64"] > 0
    assert rows[1]["params"] <= rows[0]["params"] / 2
    assert max(rows[2]["macs"], rows[3]["macs"]) <= rows[0]["macs"] / 2
    page = (folder / "report.html").read_text()
    assert "Plotly.newPlot" in page
    assert "<script src=" not in page  # self-contained


def test_the_saved_networks_are_the_measured_ones(run):
    folder, _ = run
    for row in results(folder)["rows"][1:]:
        small = load(folder / row["network"], LeNet())
        assert sum(p.numel() for p in small.parameters()) == row["params"]


def test_the_table_is_printed(run, capsys):
    _, arguments = run
    main(arguments)
    out = capsys.readouterr().out
    for word in ("dense", "dct", "svd", "spatial", "61.71", "64,", "ms", "report.html"):
        assert word in out


def test_a_complete_run_is_not_repeated_and_force_repeats_it_to_the_same_numbers(run, monkeypatch):
    folder, arguments = run
    before, stamp = results(folder), (folder / "results.json").stat().st_mtime_ns
    assert main(arguments) == 0
    assert (folder / "results.json").stat().st_mtime_ns == stamp
    steps, step = [], Classifier.training_step
    monkeypatch.setattr(Classifier, "training_step", lambda *args: steps.append(1) or step(*args))
    assert main([*arguments, "--force"]) == 0
    assert len(steps) == 17 * (2 + 3)  # batches of an epoch; of the dense network two epochs, of the three others one
    assert (folder / "results.json").stat().st_mtime_ns != stamp
    keys = ("network", "top1", "val_top1", "params", "macs", "bytes")
    assert [[row[k] for k in keys] for row in results(folder)["rows"]] == [
        [row[k] for k in keys] for row in before["rows"]
    ]


def test_run_names_do_not_move():
    assert Config().name == "digits-lenet-44136fa3"
    changed = Config(Network("resnet20"), compression=Compression(("svd",)), training=Training(seed=3))
    assert changed.name == "digits-resnet20-6cd7a6a4"
    assert Config(output=Output(force=True)).name == Config().name


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """The digits 0 and 1 of scikit-learn as an ImageFolder tree of colour PNGs, 16 x 16."""
    root, raw = tmp_path_factory.mktemp("images") / "digits", load_digits(n_class=2)
    for number, (image, label) in enumerate(zip(raw.images, raw.target)):
        path = root / ("test" if number % 4 == 0 else "train") / str(label) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9).astype("uint8")).convert("RGB").resize((16, 16)).save(path)
    return root


def test_a_folder_of_images_with_a_checkpoint_and_no_training(images, tmp_path, capsys):
    torch.manual_seed(0)
    save_file(resnet20(classes=2).state_dict(), tmp_path / "a.safetensors")
    out = tmp_path / "runs"
    command = f"--dataset folder --model resnet20 --checkpoint {tmp_path}/a.safetensors --max-epochs 0 --kernel spatial"
    arguments = f"{command} --budget macs=0.7 --layers conv --calibration-images 32 --latency-batches 1"
    assert inner(images) == inner(images.parent) == images  # the tree, and above it, where an archive would unpack
    arguments += f" --no-track --out {out} --data-root {images.parent}"
    assert main(arguments.split()) == 0
    (folder,) = out.iterdir()
    dense, small = results(folder)["rows"]
    assert small["macs"] <= 0.7 * dense["macs"]
    assert dense["val_top1"] is None
    assert "90 test images" in capsys.readouterr().out


def test_images_are_resized_on_request(images, tmp_path):
    arguments = f"--dataset folder --data-root {images} --image-size 32 --kernel svd --out {tmp_path}"
    assert main([*arguments.split(), *QUICK]) == 0


def make_lenet(classes, channels):
    return LeNet(classes, channels)


def test_a_network_of_ones_own(tmp_path):
    assert main(["--model", "test_run:make_lenet", "--kernel", "svd", "--out", str(tmp_path), *QUICK]) == 0


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_an_unwritable_folder_is_refused(tmp_path, capsys):
    tmp_path.chmod(0o500)
    assert main(["--out", str(tmp_path / "runs"), *QUICK]) == 2
    assert "out must be a folder that can be written" in capsys.readouterr().err


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "experiments.run", *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )


def test_unknown_options_end_with_2_and_help_loads_nothing_heavy():
    assert command("--kernels", "svd").returncode == 2
    answer = command("--help")
    assert answer.returncode == 0
    for group in ("network", "data", "compression", "training", "output"):
        assert f"{group} options" in answer.stdout
    code = "import sys, experiments.run; print([m for m in ('torch', 'lightning', 'pandas') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert loaded.stdout.strip() == "[]"
