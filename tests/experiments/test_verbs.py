"""The door that every verb has: help at once, refusals in one sentence, exit codes, Ctrl-C."""

import errno
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from refusals import refused
from run_folders import write_runs
from safetensors.torch import save_model

from experiments.__main__ import VERBS, main as verbs
from experiments.bench.__main__ import Bench, command
from experiments.lab.models.lenet import LeNet
from experiments.lab.training.classifier import Classifier
from experiments.study import figures

ROOT = Path(__file__).parents[2]


def python(*words):
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT, check=False)


@pytest.mark.parametrize("verb", VERBS)
def test_help_comes_at_once_however_the_verb_is_called(verb):
    own = python("-X", "importtime", "-m", f"experiments.{verb}", "--help")
    assert own.returncode == 0
    loaded = {line.split("|")[-1].strip() for line in own.stderr.splitlines()}
    assert not {"torch", "numpy", "lightning", "pandas", "optuna", "mlflow", "matplotlib"} & loaded
    shared = python("-m", "experiments", verb, "--help")
    assert (shared.returncode, shared.stdout) == (0, own.stdout)
    assert own.stdout.startswith(f"usage: python -m experiments.{verb} [-h] ")


NEEDED = {"bench": ["kernels"], "inspect": ["a"], "compare": ["a"], "deploy": ["a"]}


def test_an_option_that_does_not_exist_ends_with_2(capsys):
    for verb in VERBS:
        with pytest.raises(SystemExit) as stop:
            verbs([verb, *NEEDED.get(verb, []), "--nonsense"])
        assert stop.value.code == 2
        assert "nonsense" in capsys.readouterr().err


FILES = {"plan": "--out", "compare": "a --runs TMP --out", "bench": "kernels --out"}


@pytest.mark.parametrize("verb", FILES)
def test_a_file_that_cannot_be_written_is_refused_before_the_work(verb, tmp_path, capsys):
    write_runs(tmp_path)
    words = FILES[verb].replace("TMP", str(tmp_path)).split()
    error = refused(verbs, [verb, *words, "/proc/table.md"], tmp_path, capsys)
    assert error.startswith("error: out must be a file that can be written, got '/proc/table.md' (/proc: "), error


class Spoilt(LeNet):
    """A network whose answers are no numbers."""

    def forward(self, x):
        return super().forward(x) * float("nan")


def make_spoilt(classes, channels):
    return Spoilt(classes, channels)


def test_a_study_whose_training_diverges_says_so(tmp_path, capsys):
    assert verbs(["study", "--model", "test_verbs:make_spoilt", "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: loss must be finite, got nan at step 1: try ")


def test_a_study_on_a_full_disk_says_so(tmp_path, capsys, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "figure.png"))

    monkeypatch.setattr(figures, "write", full)
    torch.manual_seed(0)
    save_model(LeNet(), str(tmp_path / "a.safetensors"))
    words = f"study --checkpoint {tmp_path}/a.safetensors --fractions 0.5 --repeats 1 --least 9000 --out {tmp_path}/out"
    assert verbs(words.split()) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == f"error: out must be a folder with room, got {tmp_path}/figure.png (No space left on device)"


@pytest.fixture
def keeps_interrupts():
    """Lightning leaves Ctrl-C switched off after the first one."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("keeps_interrupts")
def test_ctrl_c_says_that_the_same_command_goes_on(tmp_path, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Classifier, "training_step", interrupt)
    assert verbs(["run", "--kernel", "svd", "--max-epochs", "1", "--no-track", "--out", str(tmp_path)]) == 130
    last = capsys.readouterr().err.splitlines()[-1]
    assert last == "interrupted: the same command goes on from what is finished"


def test_the_command_of_a_bench_has_what_is_not_at_its_default():
    assert command(Bench("gpu")) == "python -m experiments.bench gpu"
    assert command(Bench("kernels", "dct x", out=Path("a.md"))) == (
        "python -m experiments.bench kernels --only 'dct x' --out a.md"
    )
