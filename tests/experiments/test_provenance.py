"""What stands below a table: the command that makes it again, and only the options that matter."""

import shlex

import tyro

from experiments.lab.config import Compression, Config, Data, Measurement, Network, Training
from experiments.lab.reporting.provenance import command, differences, provenance


def test_the_command_of_a_run_makes_the_same_run_again(tmp_path):
    config = Config(
        Network("resnet20", checkpoint=tmp_path / "a b.safetensors"),
        Data("folder", data_root=tmp_path),
        Compression(("svd", "cp"), budget="macs=0.5", refit=False, prune=0.25),
        Training(seed=3, rep=True, lr=0.1),
        Measurement((1, 8)),
    )
    line = command(config.flat())
    assert line.startswith("python -m experiments.run --model resnet20 --checkpoint FILE --dataset folder")
    words = shlex.split(
        line.replace("FILE", shlex.quote(str(tmp_path / "a b.safetensors"))).replace("DIR", str(tmp_path))
    )
    again = tyro.cli(Config, args=words[3:], config=(tyro.conf.OmitArgPrefixes,))
    assert again.name == config.name
    assert command(Config().flat()) == "python -m experiments.run"


def test_runs_differ_in_what_is_not_default_and_not_shared():
    runs = [
        Config(compression=Compression(("svd",)), training=Training(clip=1.0)),
        Config(compression=Compression(("svd",), budget="macs=0.3"), training=Training(clip=1.0, seed=2)),
    ]
    flat = [config.flat() for config in runs]
    assert differences(flat) == ["", "--budget macs=0.3 --seed 2"]
    assert differences(flat[:1]) == ["--kernel svd --clip 1.0"]
    assert differences([{"model": "lenet", "dataset": "digits", "seed": 0}]) == [""]  # of before an option existed
    assert differences([]) == []


def test_a_table_names_command_number_spread_device_threads_versions_and_commit():
    environment = {"gpu": None, "threads": 1, "python": "3.12.1", "torch": "2.15.0", "commit": "abc-dirty"}
    assert provenance("experiments list", environment, "360 images, one run") == (
        "Made by `experiments list`: 360 images, one run; CPU, 1 thread, python 3.12.1, torch 2.15.0, commit abc-dirty."
    )
    assert "H100, 2 threads" in provenance("x", environment | {"gpu": "H100", "threads": 2}, "")
    assert "commit unknown" in provenance("x", {"gpu": None}, "")
