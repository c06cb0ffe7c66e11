"""Options that change nothing beside others are refused before anything is loaded; runs that keep out of their way."""

import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from refusals import refused
from safetensors.torch import save_model

from experiments.__main__ import main as verbs
from experiments.lab.config import Compression, Config, Output, Tracking
from experiments.lab.models.lenet import LeNet
from experiments.lab.runs.lock import alone, in_turn
from experiments.run.__main__ import main as run

ROOT = Path(__file__).parents[2]
IDLE = {
    "--kernel None --budget macs=0.5": "budget must be left out without a --kernel, got 'macs=0.5'",
    "--kernel None --selector loss": "selector must be left out without a --kernel, got 'loss'",
    "--kernel None --no-refit": "refit must be left out without a --kernel, got False",
    "--kernel None --prune 0.5 --budget macs=0.5": "budget must be left out without a --kernel",
    "--kernel None --calibration-images 9": "calibration images must be left out without a --kernel, --prune",
    "--kernel None --layers conv": "layers must be left out without a --kernel, --prune",
    "--kernel None --distill 0.5": "distill must be left out where no network is fine-tuned, got 0.5",
    "--kernel None svd": "kernel must be None alone, or names of kernels, got 'None svd'",
    "--kernel svd svd": r"kernel must be distinct names, got \('svd', 'svd'\)",
    "--kernel svd --selector energy --calibration-images 9": "calibration images must be left out where no network is",
    "--distill 0.5 --finetune-epochs 0": "distill must be left out where no network is fine-tuned, got 0.5",
    "--temperature 2": "temperature must be left out without --distill, got 2.0",
    "--momentum 0.5": "momentum must be left out without --optimizer sgd, got 0.5",
    "--gamma 0.5 --schedule cosine": "gamma must be left out without --schedule step, got 0.5",
    "--step-size 3": "step size must be left out without --schedule step, got 3",
    "--prune-score lamp": "prune score must be left out without --prune, got 'lamp'",
    "--checkpoint none.pth --max-epochs 0 --lr 0.1": "lr must be left out where nothing is trained, got 0.1",
    "--frequency --refit": "refit must be left out with --frequency, .*, got True",
    "--frequency --selector loss": "selector must be left out with --frequency, .*, got 'loss'",
    "--frequency --distill 0.5": "distill must be left out with --frequency, .*, got 0.5",
    "--frequency --reestimate-batchnorm": "reestimate batchnorm must be left out with --frequency, .*, got True",
    "--data-root .": "data root must be left out with dataset digits, which needs none",
    "--seed -1": r"seed must be from 0 to below 2\^32, got -1",
    "--seed 4294967296": r"seed must be from 0 to below 2\^32, got 4294967296",
    "--lr nan": "lr must be above 0, got nan",
    "--weight-decay inf": "weight decay must be at least 0, got inf",
    "--nodes 2": "nodes must be 1, or the command started on each machine by torchrun or Slurm: .*, got 2",
}


@pytest.mark.parametrize("words", IDLE)
def test_what_would_change_nothing_is_refused(words, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    error = refused(run, [*words.split(), "--out", str(tmp_path / "runs")], tmp_path, capsys)
    assert re.search(IDLE[words], error), error


def test_a_wrong_option_is_refused_before_torch_is_loaded(tmp_path):
    words = ["run", "--lr", "-1", "--out", str(tmp_path)]
    code = f"import sys; from experiments.__main__ import main; print(main({words}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["2", "False"]
    assert done.stderr == "error: lr must be above 0, got -1.0\n"


@pytest.mark.parametrize(
    ("words", "sentence"),
    {
        "--frequency": "frequency must be left out: such networks are trained, not planned",
        "--kernel None": "kernel must be one or more, or --prune-channels, to plan",
        "--kernel None --budget macs=0.5": "budget must be left out without a --kernel",
    }.items(),
)
def test_a_plan_of_nothing_is_refused(words, sentence, tmp_path, capsys):
    save_model(LeNet(), str(tmp_path / "a.safetensors"))
    arguments = ["plan", *words.split(), "--checkpoint", str(tmp_path / "a.safetensors")]
    assert sentence in refused(verbs, arguments, tmp_path, capsys)


def test_a_database_that_cannot_be_used_leaves_no_folder(tmp_path, capsys):
    error = refused(verbs, ["tune", "--storage", "foo", "--out", str(tmp_path / "out")], tmp_path, capsys)
    assert "storage must be DIALECT://" in error


def test_the_run_that_another_process_makes_is_refused_with_its_number(tmp_path, capsys):
    config = Config(compression=Compression(("svd",)), tracking=Tracking(False), output=Output(tmp_path))
    folder = tmp_path / config.name
    code = "import sys, time; from pathlib import Path; from experiments.lab.runs.lock import alone\n"
    code += f"with alone(Path({str(folder)!r})): print('held', flush=True); sys.stdin.read()"
    folder.mkdir()
    other = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout.readline() == "held\n"
    error = refused(run, ["--kernel", "svd", "--no-track", "--out", str(tmp_path)], tmp_path, capsys)
    wait = f"wait for process {other.pid}, and give the command again"
    assert error == f"error: run must be one that no other process makes now: {wait}, got {folder.name}\n"
    other.communicate()
    with alone(folder):
        pass
    assert not list(folder.iterdir())


def test_who_comes_later_waits_for_the_folder(tmp_path):
    order = []

    def later():
        with in_turn(tmp_path):
            order.append("later")

    with in_turn(tmp_path):
        thread = threading.Thread(target=later)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "later"]


BEGIN = """
import sys
from pathlib import Path
from experiments.lab.config import Config, Output
from experiments.lab.runs.tracking import Tracker
out = Path(sys.argv[1])
print('ready', flush=True); sys.stdin.readline()
with Tracker(Config(output=Output(out=out)), out / sys.argv[2]) as tracker:
    tracker.epoch("dense", 0, {"loss": 1.0})
    print(tracker.on, flush=True)
"""


@pytest.mark.slow
def test_runs_that_start_at_once_in_a_new_folder_all_have_mlflow(tmp_path):
    variables = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
    start = [sys.executable, "-c", BEGIN, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT, "env": variables}
    started = [subprocess.Popen([*start, str(number)], **pipes) for number in range(3)]
    assert [process.stdout.readline() for process in started] == ["ready\n"] * 3
    for process in started:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate()[0] for process in started] == ["True\n"] * 3
