"""Refusals come before anything is loaded; runs that keep out of each other's way."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from refusals import refused

from experiments.__main__ import main as verbs
from experiments.lab.config import Compression, Config, Output, Tracking
from experiments.lab.runs.lock import alone, in_turn
from experiments.run.__main__ import main as run

ROOT = Path(__file__).parents[2]


def test_a_wrong_option_is_refused_before_torch_is_loaded(tmp_path):
    words = ["run", "--lr", "-1", "--out", str(tmp_path)]
    code = f"import sys; from experiments.__main__ import main; print(main({words}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["2", "False"]
    assert done.stderr == "error: lr must be above 0, got -1.0\n"


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
