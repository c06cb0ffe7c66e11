"""Results are held against what they were made of: weights, images and code that changed under one path are noticed."""

import json
import os
import shutil

import optuna
import pytest
import torch
from quick_runs import results
from safetensors.torch import save_file

from experiments.lab.config import Compression, Config, Data, Network, Training
from experiments.lab.models.lenet import LeNet
from experiments.lab.runs.inputs import changes, changes_of_study, inputs, of_code, of_data
from experiments.run import measure
from experiments.run.__main__ import main


def write_net(path, seed):
    torch.manual_seed(seed)
    save_file(LeNet().state_dict(), path)


def arguments(folder, *more):
    words = "--kernel svd --selector energy --max-epochs 0 --finetune-epochs 0 --no-track --latency-batches 1"
    return [*words.split(), "--checkpoint", f"{folder}/net.safetensors", "--out", f"{folder}/runs", *more]


def test_a_complete_run_says_that_its_checkpoint_has_changed_until_it_is_repeated(tmp_path, capsys):
    checkpoint = tmp_path / "net.safetensors"
    write_net(checkpoint, 0)
    assert main(arguments(tmp_path)) == 0
    os.utime(checkpoint)  # a later time is no other content
    assert main(arguments(tmp_path)) == 0
    assert "--force" not in capsys.readouterr().err
    (folder,) = (tmp_path / "runs").iterdir()
    before = results(folder)["rows"][0]["loss"]
    write_net(checkpoint, 1)
    assert main(arguments(tmp_path)) == 0
    words = f"results are of an earlier checkpoint ({checkpoint} has changed since): repeat them with --force"
    assert words in capsys.readouterr().err
    assert results(folder)["rows"][0]["loss"] == before
    assert main(arguments(tmp_path, "--force")) == 0
    assert results(folder)["rows"][0]["loss"] != before
    assert main(arguments(tmp_path)) == 0
    assert "has changed" not in capsys.readouterr().err


def test_a_run_of_before_digests_were_kept_goes_by_the_time_of_its_checkpoint(tmp_path, capsys):
    checkpoint = tmp_path / "net.safetensors"
    write_net(checkpoint, 0)
    assert main(arguments(tmp_path)) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    kept = results(folder)
    del kept["inputs"]
    (folder / "results.json").write_text(json.dumps(kept))
    capsys.readouterr()
    assert main(arguments(tmp_path)) == 0
    assert "has changed" not in capsys.readouterr().err
    os.utime(checkpoint, (4e9, 4e9))
    assert main(arguments(tmp_path)) == 0
    assert "an earlier checkpoint" in capsys.readouterr().err


def test_an_unfinished_run_is_not_finished_with_another_checkpoint(tmp_path, capsys, monkeypatch):
    checkpoint = tmp_path / "net.safetensors"
    write_net(checkpoint, 0)

    def full(*_):
        raise ValueError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(measure, "latencies", full)
        assert main(arguments(tmp_path)) == 2
    (folder,) = (tmp_path / "runs").iterdir()
    before = (folder / "dense.safetensors").read_bytes()
    write_net(checkpoint, 1)
    capsys.readouterr()
    assert main(arguments(tmp_path)) == 2
    assert "unfinished run must be of what it was begun with: pass --force to begin it anew" in capsys.readouterr().err
    assert (folder / "dense.safetensors").read_bytes() == before
    assert main(arguments(tmp_path, "--force")) == 0
    assert (folder / "dense.safetensors").read_bytes() != before
    assert not (folder / "unfinished").exists()


def test_the_images_count_and_what_else_lies_beside_them_does_not(tmp_path):
    image = tmp_path / "train" / "a" / "1.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"one")
    data = Data("folder", tmp_path)
    before = of_data(data)
    (tmp_path / "notes.txt").write_text("about them")
    assert of_data(data) == before
    image.write_bytes(b"two")
    assert of_data(data) != before
    image.write_bytes(b"one")
    assert of_data(data) == before
    shutil.copy(image, image.with_name("2.png"))
    assert of_data(data) != before
    assert of_data(Data("digits")) is None


def test_images_behind_a_link_count(tmp_path):
    image = tmp_path / "elsewhere" / "1.png"
    image.parent.mkdir()
    image.write_bytes(b"one")
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "data" / "train" / "a").symlink_to(image.parent)
    data = Data("folder", tmp_path / "data")
    before = of_data(data)
    image.write_bytes(b"two")
    assert of_data(data) not in (None, before)


def test_the_code_of_the_network_counts_with_that_of_its_package(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "nets_of_mine"
    package.mkdir()
    for name in ("__init__", "net", "blocks"):
        (package / f"{name}.py").write_text("")
    before = of_code("nets_of_mine.net:make")
    (package / "blocks.py").write_text("width = 8")
    assert of_code("nets_of_mine.net:make") != before
    assert of_code("lenet") is None


@pytest.mark.parametrize(
    ("config", "phrases"),
    [
        (Config(), ["selector (energy, now loss)", "fine-tuning (lr / 4"]),
        (Config(compression=Compression(("auto",))), ["fine-tuning"]),
        (Config(compression=Compression(selector="energy"), training=Training(finetune_epochs=0)), []),
        (Config(compression=Compression(()), training=Training(finetune_lr=1e-3)), []),
    ],
)
def test_a_run_of_earlier_defaults_is_told_by_what_it_left_open(config, phrases):
    said = changes(config, None)
    assert len(said) == len(phrases)
    for phrase, words in zip(phrases, said):
        assert phrase in words
    assert changes(config, inputs(config)) == []


def test_a_checkpoint_that_is_gone_is_no_change(tmp_path):
    path = tmp_path / "net.safetensors"
    write_net(path, 0)
    config = Config(Network(checkpoint=path), training=Training(finetune_epochs=0), compression=Compression(()))
    made = inputs(config)
    path.unlink()
    assert changes(config, made) == []


def test_the_trials_of_a_study_are_told_from_those_of_other_images(tmp_path):
    image = tmp_path / "train" / "a" / "1.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"one")
    study, config = optuna.create_study(), Config(data=Data("folder", tmp_path), compression=Compression(()))
    assert changes_of_study(study, config) == []
    assert changes_of_study(study, config) == []
    image.write_bytes(b"two")
    assert changes_of_study(study, config) == [f"earlier images ({tmp_path} has changed since)"]
