"""`list` and the verbs: every run, why one cannot be used, and nothing heavy loaded."""

import subprocess
import sys
from pathlib import Path

import pytest
from run_folders import results, row, write_runs

from experiments.__main__ import VERBS, main as verbs
from experiments.lab.runs import record
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
    assert "98.50 " in lines["a"]
    assert "98.50 to" not in lines["a"]
    assert "unfinished, svd epoch 5" in lines["unfinished"]
    assert "unreadable" in lines["torn"]
    assert "run must have a whole results.json" in lines["torn:"]
    assert "study-x" not in lines
    assert list_runs(["--runs", str(runs / "nowhere")]) == 2
    assert "runs must be a folder of run folders" in capsys.readouterr().err


def test_at_80_columns_names_are_whole_and_the_options_say_what_is_different(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    configs = {"seed": [0, 1, 2], "budget": [None, "macs=0.25", "macs=0.5"], "lr": [0.01] * 3}
    names = ["mnist-mylab.net.make-2ffd8b00", "digits-mobilenet_v3_small-0badcafe", "digits-lenet-deadbeef"]
    for number, name in enumerate(names):
        (tmp_path / name).mkdir()
        config = {key: values[number] for key, values in configs.items()}
        record.write_json(tmp_path / name / "config.json", config)
        record.write_json(tmp_path / name / "results.json", results(row("dense"), row("svd", 0.5), **config))
    (tmp_path / "sweep").mkdir()
    record.write_json(tmp_path / "sweep" / "config.json", {"fractions": [0.5]})
    assert list_runs(["--runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert max(map(len, lines[:-1])) <= 80  # the last one has the folder's path
    for index, name in enumerate(names):
        (at,) = (place for place, line in enumerate(lines) if line.startswith(name))
        options = " ".join(line[:35] for line in lines[at + 1 : at + 4])
        assert (f"--seed {index}" in " ".join(options.split())) == (index > 0)
        assert "--lr" not in out  # shared
    assert "--budget macs=0.25" in " ".join(out.split())
    assert f"3 runs in {tmp_path}" in out


def test_one_run_is_no_runs(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "digits-lenet-1").mkdir()
    record.write_json(tmp_path / "digits-lenet-1" / "config.json", {"seed": 3})
    record.write_json(tmp_path / "digits-lenet-1" / "results.json", results(row("dense"), seed=3))
    assert list_runs(["--runs", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert f"1 run in {tmp_path}" in out
    assert "complete, 1 network " in out
    assert "--seed 3" in out


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


def test_to_list_runs_needs_neither_torch_nor_lightning(runs):
    code = "import sys; from experiments.list import main; code = main(sys.argv[1:]); "
    code += "sys.exit(code or any(name in sys.modules for name in ('torch', 'lightning', 'pandas')))"
    listed = subprocess.run([sys.executable, "-c", code, "--runs", str(runs)], capture_output=True, check=False)
    assert listed.returncode == 0, listed.stderr
