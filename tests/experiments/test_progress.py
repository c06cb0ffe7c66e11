"""Long stages give signs of life on stderr, and stdout has the table alone."""

import ast
import re
import time
from pathlib import Path

import pytest
import torch
from quick_runs import QUICK
from torch import nn

from experiments.lab import progress
from experiments.lab.progress import Pace, left, stage, tracked
from experiments.run.__main__ import main
from layers import calibrate, on_grid, prune_channels
from layers.checkpoint.int8 import compensated_network
from layers.costs import interleaved

ROOT = Path(__file__).parents[2]


def test_without_a_terminal_a_line_says_how_far_a_stage_is(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.05)
    with stage("calibrate, batch", 3) as sign:
        sign.advance()
        time.sleep(0.3)
    first, *others = capsys.readouterr().err.splitlines()
    assert first.startswith("calibrate, batch: 1 of 3, ")
    assert re.fullmatch(r"calibrate, batch: 1 of 3, \d+ s, \d+ s left", first)
    assert others
    time.sleep(0.2)
    assert capsys.readouterr().err == ""  # it ends with its stage


def test_the_line_ends_with_a_stage_that_fails(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.05)
    with pytest.raises(ValueError, match="no room"), stage("refit"):
        raise ValueError("no room")
    time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_every_stage_says_of_how_much():
    """So that each long one shows the time that is left."""
    stages = {}
    for path in (ROOT / "experiments").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text())):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "stage":
                stages[f"{path.name}:{call.lineno}"] = len(call.args)
    assert len(stages) >= 10
    assert {where: count for where, count in stages.items() if count != 2} == {}


def test_each_step_tells_which_layers_are_done():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3)).eval()
    images, names = torch.randn(8, 1, 8, 8), ["0", "2", "4"]
    stats = calibrate(model, [images])

    def told(step):
        done = []
        step(done.append)
        return done

    thinned = told(lambda progress: prune_channels(model, 0.5, images, stats=stats, progress=progress))
    assert sorted(thinned) == ["0", "2"]
    assert told(lambda progress: on_grid(model, 4, progress=progress)) == names
    assert told(lambda progress: on_grid(model, 8, stats, 2000, progress=progress)) == names
    assert told(lambda progress: compensated_network(model, [images], progress)) == names
    rounds = []
    interleaved({"nothing": lambda: None}, 3, progress=lambda: rounds.append(1))
    assert len(rounds) >= 3


def test_batches_are_passed_on_and_counted(monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.05)
    passed = []
    for batch in tracked([1, 2, 3], "evaluate, batch"):
        passed.append(batch)
        time.sleep(0.15)
    assert passed == [1, 2, 3]
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("evaluate, batch: 2 of 3, ")]


def test_a_training_shows_its_epochs_on_stderr_and_the_table_alone_is_on_stdout(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(progress, "EVERY", 0.02)
    assert main(["--kernel", "svd", "--out", str(tmp_path), *QUICK]) == 0
    out, err = capsys.readouterr()
    for words in (
        "epoch 1 of 2, loss ",
        ", batch: ",
        " of 34, ",
        " s left",
        "val_top1 ",
        "calibrate, batch: ",
        "time 2 networks",
    ):
        assert words in err
    assert out.startswith("lenet on digits, 360 test images")
    assert "epoch" not in out.split("report:")[0].split("Second figures")[0].lower()


def test_on_a_terminal_a_bar_is_drawn_on_stderr(monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(progress, "REFRESH", 0.01)
    with stage("refit [layer1]", 4) as sign:
        sign.advance()
        time.sleep(0.2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "refit [layer1]" in err
    assert "1/4" in err
    assert "-:--:--" in err  # the time left, not known yet


def test_a_logged_sentence_is_one_line_as_it_is(capsys):
    sentence = "a [bold]path[/bold] of 7 parts, " * 10
    progress.log(sentence)
    assert capsys.readouterr() == ("", f"{sentence}\n")


def test_a_row_of_long_things_says_how_many_are_done_and_what_is_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    pace = Pace(13, done=1)  # one of them before this process began, which tells nothing
    assert pace(1) == "1 of 13"
    now[0] += 600
    assert pace(5) == "5 of 13, 20 min left"
    assert pace(13) == "13 of 13"
    assert (left(1, 4, 20.0), left(90, 100, 72000.0), left(0, 4, 20.0)) == (", 60 s left", ", 2 h left", "")
