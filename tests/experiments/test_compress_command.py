"""`--compress`: a row of the table for each list of steps, each step stored and measured: the ladder."""

import json
import signal

import pytest
from kills import exit_code, kill_at

from experiments.lab.models.lenet import LeNet
from experiments.lab.recipes import ladder
from experiments.lab.runs import record
from experiments.lab.runs.stages import UNFINISHED
from experiments.plan import main as plan_main
from experiments.run.__main__ import main
from layers import load

LIST = "channels 0.3, svd params=0.8, finetune 1, weights 0.5 per-layer, finetune 1, half"
ARGUMENTS = ["--compress", LIST, "--max-epochs", "1", "--latency-batches", "1", "--rep", "--no-track"]


def run(out, *more):
    return main([*ARGUMENTS, *more, "--out", str(out)])


def killed_run(out, count):
    """End as by `kill -9` when the count-th state.json is about to be written."""
    ladder.record.write_json = kill_at(count, record.write_json)
    run(out)


def bits(out):
    (folder,) = out.iterdir()
    results = json.loads((folder / "results.json").read_text())
    ladder = results["rows"][1]["ladder"]
    timed = ("seconds", "latency")
    metrics = [{key: value for key, value in rung.items() if not key.startswith(timed)} for rung in ladder]
    return metrics, {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.safetensors")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    assert exit_code(run, out) == 0  # in a process as those that are killed, which have as many threads
    return out


def test_every_step_is_a_rung(whole, capsys):
    (folder,) = whole.iterdir()
    dense, row = json.loads((folder / "results.json").read_text())["rows"]
    ladder = row["ladder"]
    assert [rung["step"] for rung in ladder] == ["dense", *LIST.split(", ")]
    assert all(0 <= rung[key] <= 100 for rung in ladder for key in ("top1", "val_top1"))
    params = [rung["params"] for rung in ladder]
    assert dense["params"] == params[0] > params[1] > params[2] == params[-1] == row["params"]
    assert ladder[4]["nonzeros"] < 0.6 * ladder[3]["nonzeros"]
    assert [rung["bits"] for rung in ladder[:4]] == [32] * 4
    assert all(16 < rung["bits"] < 19 for rung in ladder[4:6])  # half of the numbers, and places
    assert ladder[6]["bits"] < 11
    assert all(rung["compressed"] <= rung["bytes"] for rung in ladder)
    name = "channels-0.3-svd-params0.8-finetune-1-weights-0.5-per-layer-finetune-1-half"
    assert row["network"] == name
    assert ladder[-1]["bytes"] == row["bytes"] == (folder / name / "model.safetensors").stat().st_size
    assert ladder[-1]["top1"] == row["top1"]
    assert ladder[4]["top1"] == row["top1_before"]
    times = [rung["latency_1"] for rung in ladder]
    assert times[2] == times[5]  # nothing between the two changes how it is computed
    assert times[0] == dense["latency_1"] != times[1] != times[2] != times[6] == row["latency_1"]
    assert run(whole) == 0
    printed = capsys.readouterr().out
    assert all(step in printed for step in LIST.split(", "))
    assert "finetune 1" in (folder / "report.html").read_text()
    load(folder / name, LeNet())
    assert not (folder / UNFINISHED).exists()
    history = [r["epoch"] for r in json.loads((folder / "history.json").read_text()) if r["network"] == name]
    assert history == [0, 1]  # of two trainings, one after the other


def test_a_run_killed_between_its_steps_ends_with_the_same_bits(whole, tmp_path):
    for count in (1, 2, 3):  # one more step is finished before each death
        assert exit_code(killed_run, tmp_path, count + (count == 1)) == -signal.SIGKILL
    assert exit_code(run, tmp_path) == 0
    assert bits(tmp_path) == bits(whole)


def test_several_lists_are_several_rows_of_one_calibration(tmp_path):
    lists = ["svd params=0.8 selector=energy", "weights 0.5, bf16"]
    words = ["--max-epochs", "1", "--latency-batches", "1", "--rep", "--no-track", "--out", str(tmp_path)]
    assert main(["--compress", *lists, *words]) == 0
    (folder,) = tmp_path.iterdir()
    rows = json.loads((folder / "results.json").read_text())["rows"]
    assert [row["network"] for row in rows] == ["dense", "svd-params0.8-selector-energy", "weights-0.5-bf16"]
    assert rows[2]["bytes"] < 0.6 * rows[0]["bytes"]
    assert rows[1]["val_top1"] is None  # it was not trained
    assert rows[1]["ladder"][-1]["val_top1"] == pytest.approx(rows[1]["top1"], abs=25)


def test_the_plan_of_a_list_is_printed(whole, capsys):
    (folder,) = whole.iterdir()
    words = ["--checkpoint", f"{folder}/dense.safetensors", "--compress"]
    assert plan_main([*words, "channels 0.3, svd params=0.8, finetune 3"]) == 0
    assert "conv2" in capsys.readouterr().out
    assert plan_main([*words, "channels 0.3, finetune 3, svd params=0.8"]) == 2
    assert "compress must be left out before a kernel" in capsys.readouterr().err
