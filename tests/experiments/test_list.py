"""`list` and the verbs: every run, why one cannot be used, and nothing heavy loaded."""

import subprocess
import sys
from pathlib import Path

import pytest
from run_folders import write_runs

from experiments.__main__ import VERBS, main as verbs
from experiments.list import main as list_runs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def runs(tmp_path):
    return write_runs(tmp_path)


def test_the_list_shows_every_run_and_why_one_cannot_be_used(runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    (runs / "study-x").mkdir()
    assert list_runs(["--runs", str(runs)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "complete, 2 networks" in lines["a"]
    assert "99.00" in lines["a"]
    assert "98.50 to 98.50" in lines["a"]
    assert "unfinished, epoch of svd 5" in lines["unfinished"]
    assert "unreadable" in lines["torn"]
    assert "study-x" not in lines
    assert list_runs(["--runs", str(runs / "nowhere")]) == 2
    assert "runs must be a folder of run folders" in capsys.readouterr().err


def test_verbs(capsys, runs):
    assert verbs(["list", "--runs", str(runs)]) == 0
    assert "6 runs" in capsys.readouterr().out
    assert verbs([]) == 0
    usage = capsys.readouterr().out
    assert all(f"  {verb} " in usage for verb in VERBS)
    assert verbs(["train"]) == 2
    assert f"verb must be one of {', '.join(VERBS)}, got 'train'" in capsys.readouterr().err
    code = "import sys, experiments.compare, experiments.list, experiments.tune, experiments.__main__;"
    code += "print([m for m in ('torch', 'optuna', 'mlflow', 'pandas') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert loaded.stdout.strip() == "[]"
