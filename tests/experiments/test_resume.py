"""A run that is killed at any moment goes on when the command is given again, and ends with the same bits."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch
from kills import exit_code, kill_at

from experiments.lab.runs.stages import UNFINISHED, Stages
from experiments.lab.steps import kernel, state
from experiments.lab.training import checkpoint
from experiments.lab.training.classifier import Classifier
from experiments.run import measure
from experiments.run.__main__ import main

ARGUMENTS = "--kernel svd dct --max-epochs 3 --finetune-epochs 2 --ema 0.9 --mixup 0.2 --patience 9 --distill 0.5"
ARGUMENTS += " --latency-batches 1 --rep --no-track"


def run(out, *more):
    return main([*ARGUMENTS.split(), "--out", str(out), *more])


PLACES = {
    "training": (Classifier, "training_step"),
    "validation": (Classifier, "validation_step"),
    "compression": (kernel, "compress"),
    "saving a checkpoint": (checkpoint.Path, "write_bytes"),
    "saving a network": (state, "save"),
    "closing a stage": (Stages, "finish"),
    "measuring": (measure, "latencies"),
}


def killed_run(out, place, count):
    owner, name = PLACES[place]
    setattr(owner, name, kill_at(count, getattr(owner, name)))
    run(out)


def plain_run(out, seconds=0.0, clock=None):
    """Ended after so many seconds of computing by a signal that nobody handles, as abruptly as by `kill -9`.

    Seconds of this process alone: how far it gets in them does not depend on what else the machine does.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)
    began = time.process_time()
    status = run(out)
    if clock is not None:
        clock.write_text(str(time.process_time() - began))
    os._exit(status)


def result(out):
    """Everything that must be the same: metrics and the bytes of every network."""
    (folder,) = out.iterdir()
    rows = json.loads((folder / "results.json").read_text())["rows"]
    names = {str(path.relative_to(folder)) for path in folder.rglob("*")}
    metrics = [{key: value for key, value in row.items() if key in ("top1", "val_top1", "macs")} for row in rows]
    return names, metrics, {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.safetensors")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The result of a run that nothing has interrupted, and its seconds of computing."""
    out, clock = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("clock") / "seconds"
    assert exit_code(plain_run, out, 0.0, clock) == 0
    return *result(out), float(clock.read_text())


def test_a_run_killed_in_every_part_of_its_work_ends_with_the_same_bits(whole, tmp_path):
    parts = [("training", 25), ("saving a checkpoint", 1), ("compression", 1), ("saving a network", 2)]
    for place, count in (*parts, ("validation", 2), ("closing a stage", 1), ("measuring", 1)):
        assert exit_code(killed_run, tmp_path, place, count) == -signal.SIGKILL, place
    assert exit_code(plain_run, tmp_path) == 0
    assert result(tmp_path) == whole[:3]


def test_what_is_finished_is_not_repeated(tmp_path, monkeypatch, capsys):
    assert exit_code(killed_run, tmp_path, "training", 17 * 3 + 17 + 5) == -signal.SIGKILL  # in fine-tuning
    (folder,) = tmp_path.iterdir()
    assert {path.name for path in (folder / UNFINISHED).iterdir()} == {
        "inputs.json",
        "layers",  # what was judged of each
        "stages.json",
        "svd",
    }
    assert {path.name for path in (folder / UNFINISHED / "svd").iterdir()} == {"1-svd", "2-finetune.ckpt"}
    steps = []
    step = Classifier.training_step
    monkeypatch.setattr(Classifier, "training_step", lambda *args: steps.append(1) or step(*args))
    assert run(tmp_path) == 0
    assert len(steps) == 17 + 2 * 17  # of svd the second epoch, of dct both
    assert "dense: finished before" in capsys.readouterr().err
    assert not (folder / UNFINISHED).exists()


def test_a_damaged_checkpoint_is_named(tmp_path, capsys):
    assert exit_code(killed_run, tmp_path, "training", 25) == -signal.SIGKILL
    (path,) = tmp_path.rglob("dense.ckpt")
    path.write_bytes(path.read_bytes()[:1000])
    assert run(tmp_path) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: ")
    assert "dense.ckpt must be a whole checkpoint" in error


def test_a_checkpoint_is_not_unpickled(tmp_path):
    torch.save({"state_dict": Path("an object")}, tmp_path / "bad.ckpt")
    with pytest.raises(ValueError, match="must be a whole checkpoint"):
        checkpoint.WholeFiles().load_checkpoint(tmp_path / "bad.ckpt")


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_a_run_killed_at_20_random_moments_ends_with_the_same_bits(part, whole, tmp_path):
    draw, killed = random.Random(part), 0
    for number in range(5):
        out = tmp_path / str(number)
        killed += exit_code(plain_run, out, draw.uniform(0.01, whole[3])) == -signal.SIGPROF
        assert exit_code(plain_run, out) == 0
        assert result(out) == whole[:3], number
    assert killed >= 3  # the last moments are a matter of luck


@pytest.mark.slow
def test_a_run_killed_20_times_ends_with_the_same_bits(whole, tmp_path):
    draw = random.Random(1)
    codes = [exit_code(plain_run, tmp_path, draw.uniform(0.01, whole[3] / 4)) for _ in range(20)]
    assert codes.count(-signal.SIGPROF) >= 5
    assert exit_code(plain_run, tmp_path) == 0
    assert result(tmp_path) == whole[:3]
