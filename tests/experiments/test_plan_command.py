"""`experiments.plan`, `experiments.sweep` and `experiments.bench planner`: trained networks, no gradient step."""

import contextlib
import dataclasses
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from browser import look_over
from PIL import Image
from rich.console import Console
from safetensors.torch import load_file, save_file

from experiments import plan
from experiments.bench import __main__ as bench
from experiments.bench.planner import table as planner_table
from experiments.bench.planner.alone import Alone, show
from experiments.bench.planner.random_plans import Ranking
from experiments.bench.planner.trials import FRACTIONS, Trial
from experiments.lab.evaluation.evaluate import Accuracy
from experiments.lab.models.lenet import LeNet
from experiments.lab.reporting.peers import CIFAR10, PEERS, peers
from experiments.run.__main__ import main as run
from experiments.sweep import __main__ as sweep
from layers import Budget, Plan, compress, make_plan


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """LeNet, trained on digits for a little while."""
    out = tmp_path_factory.mktemp("run")
    assert run(["--kernel", "svd", "--max-epochs", "3", "--finetune-epochs", "0", "--no-track", "--out", str(out)]) == 0
    (folder,) = out.iterdir()
    return str(folder / "dense.safetensors")


def test_the_plan_is_printed_and_written_and_fits_the_network(checkpoint, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    arguments = f"--budget macs=0.5 --checkpoint {checkpoint} --max-epochs 7 --no-track --out {tmp_path}/new/plan.json"
    assert plan.main(arguments.split()) == 0
    out = capsys.readouterr().out
    made = Plan.load(tmp_path / "new" / "plan.json")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["plan.json"]
    assert made.selector == "loss"
    assert str(made) in out
    assert f"macs: {made.after.macs:,} of {made.before.macs:,}, " in out
    assert f"predicted rise of the loss, before any refit: {sum(row.error for row in made.layers):.4g}" in out
    compress(LeNet(), made)


def test_several_plans_are_printed_side_by_side(checkpoint, capsys):
    words = f"--kernel dct svd --checkpoint {checkpoint}".split()
    assert plan.main(words) == 0
    out = capsys.readouterr().out
    assert "dct: selector loss; calibrated with 1,077 training images" in out
    assert "svd: selector loss; calibrated with 1,077 training images; factors refitted" in out
    assert plan.main([*words, "--selector", "energy"]) == 0
    out = capsys.readouterr().out
    assert "dct: selector energy" in out
    assert "svd: selector energy" in out
    assert "predicted" not in out  # energy predicts no loss


@pytest.mark.parametrize("budget", ["macs=0.5", "params=0.3"])
def test_a_plan_fits_80_columns_with_every_layer_and_every_reason(budget, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    model, images = LeNet(), torch.zeros(1, 1, 32, 32)
    made = make_plan(model, Budget.parse(budget), ("svd", "spatial"), selector="energy", example=images)
    reasons = {row.name: "an output of ten is too few to take apart" for row in made.layers}
    made = dataclasses.replace(
        made, layers=tuple(dataclasses.replace(row, reason=reasons[row.name]) for row in made.layers)
    )
    plan.print_plan(made, Console())
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    table = plan.plan_table(made)
    assert [row[0].split("\n")[0] for row in table.rows] == [*(row.name for row in made.layers), "total"]
    for row in made.layers:
        assert any(line.startswith(row.name) for line in lines)
    assert table.rows[-1][2].endswith(f"{made.after.params / made.before.params:.0%}")


SWEEP = "--kernel svd spatial --selector loss uniform --fractions 0.02 0.4 0.7 --calibration-images 1000"


@pytest.fixture(scope="module")
def swept(checkpoint, tmp_path_factory):
    """(the sweep's folder, its arguments, what it wrote to stdout, to stderr)."""
    out, streams = tmp_path_factory.mktemp("sweep"), (io.StringIO(), io.StringIO())
    arguments = [*SWEEP.split(), "--checkpoint", checkpoint, "--out", str(out)]
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        assert sweep.main(arguments) == 0
    (folder,) = out.iterdir()
    return folder, arguments, *(stream.getvalue() for stream in streams)


@pytest.mark.slow
def test_the_page_of_a_sweep_in_a_browser(swept, chromium):
    """Made by the template of the pages in test_pages.py."""
    look_over(chromium, swept[0] / "report.html")


def test_a_sweep_is_a_table_and_a_figure_and_goes_on_where_it_was(swept):
    folder, arguments, printed, said = swept
    assert said.count("left out: budget must be within reach") == 3  # 0.02 of each curve
    assert {path.name for path in folder.iterdir()} == {
        *("points.json", "sweep.csv", "sweep.png", "sweep.pdf", "config.json", "report.html")
    }
    table = pd.read_csv(folder / "sweep.csv")
    curves = [("dense", ""), *[("svd", "loss")] * 2, *[("spatial", "loss")] * 2, *[("svd", "uniform")] * 2]
    assert list(zip(table.kernel, table.selector.fillna(""))) == curves
    assert (table.kept[1:].to_numpy() <= np.array([0.4, 0.7] * 3)).all()
    assert (table.kept[1:] == table.macs[1:] / table.macs[0]).all()
    assert (table.top1 > 50).all()
    assert table.refit[1:].all()
    assert table.predicted_rise.notna().tolist() == [selector == "loss" for _, selector in curves]
    lines = [line.split() for line in printed.splitlines()]
    assert ["svd", "loss", *(f"{top1:.2f}" for top1 in table.top1[1:3])] in lines
    points = json.loads((folder / "points.json").read_text())
    points["svd loss 0.4"]["top1"] = 12.5
    del points["svd uniform 0.7"]
    (folder / "points.json").write_text(json.dumps(points))
    assert sweep.main(arguments) == 0
    again = pd.read_csv(folder / "sweep.csv")
    assert again.top1[1] == 12.5  # not measured again
    assert again.drop(index=1).equals(table.drop(index=1))  # what was missing is as before


def test_a_sweep_does_not_mix_points_of_two_checkpoints_of_one_name(checkpoint, tmp_path, capsys):
    own = tmp_path / "net.safetensors"
    shutil.copy(checkpoint, own)
    words = (
        f"--kernel svd --selector energy --fractions 0.5 --no-refit --checkpoint {own} --out {tmp_path}/runs".split()
    )
    assert sweep.main(words) == 0
    (points,) = tmp_path.glob("runs/*/points.json")
    before = points.read_text()
    tensors = load_file(own)
    save_file({name: 2 * tensor for name, tensor in tensors.items()}, own)
    assert sweep.main([*words, "--fractions", "0.5"]) == 2
    assert f"({own} has changed since)" in capsys.readouterr().err
    assert points.read_text() == before
    assert sweep.main([*words, "--force"]) == 0
    assert points.read_text() != before


def test_a_sweep_of_which_no_point_is_in_reach_ends_with_2_and_leaves_nothing(checkpoint, tmp_path, capsys):
    arguments = f"--kernel svd --selector loss --fractions 0.02 --calibration-images 1000 --out {tmp_path}"
    assert sweep.main([*arguments.split(), "--checkpoint", checkpoint]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.fullmatch(
        r"error: budget must be within reach of selector loss, at least macs=0.1\d*, got macs=0.02", last
    )
    assert not list(tmp_path.iterdir())


def test_peers_stand_beside_the_network_and_the_images_that_they_are_of():
    assert [peer.name for peer in peers("resnet20", sorted(CIFAR10), "macs")] == ["BALF", "plain SVD", "FVRCP"]
    assert [peer.name for peer in peers("resnet20", sorted(CIFAR10), "params")] == ["ALDS"]
    assert peers("resnet56", sorted(CIFAR10), "macs") == peers("resnet20", list("0123456789"), "macs") == []
    for peer in PEERS:
        assert all(0 < fraction < 1 for fraction in peer.top1)
        assert all(10 < top1 < peer.dense + 0.2 for top1 in peer.top1.values())
        assert peer.measured == (peer.dense == 88.28)
        assert peer.source


@pytest.mark.slow
def test_the_bench_measures_every_budget_and_ranks_random_plans(checkpoint, tmp_path, capsys):
    options = "--model lenet --dataset digits --calibration-images 900 --held-out 100 --plans 6 --seeds 2 --threads 1"
    options += f" --foreign {tmp_path}/photos --checkpoint {checkpoint} --out {tmp_path}/t.csv"
    (tmp_path / "photos" / "any").mkdir(parents=True)
    for number in range(64):
        noise = np.random.default_rng(number).integers(0, 256, (6, 5, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((50, 40)).save(tmp_path / "photos" / "any" / f"{number}.png")
    assert bench.main(["planner", *options.split()]) == 0
    table = pd.read_csv(tmp_path / "t.csv")
    assert list(zip(table.seed, table.fraction)) == [(seed, part) for seed in (0, 1) for part in FRACTIONS]
    assert (table.kept <= table.fraction).all()
    assert (table[["top1_plain", "top1_refitted"]] > 50).all(axis=None)
    assert np.allclose(table.seconds, table[["calibrate", "plan", "compress", "refit"]].sum(axis=1))
    assert (tmp_path / "t.png").stat().st_size > 5000
    printed = capsys.readouterr().out
    assert "Spearman" in printed
    assert printed.count("foreign") - printed.count("--foreign") == len(FRACTIONS)  # the command names it too


def test_the_bench_compares_what_is_foreseen_of_single_layers(checkpoint, tmp_path, capsys):
    options = f"--model lenet --dataset digits --held-out 100 --alone 60 900 --threads 1 --checkpoint {checkpoint}"
    bench.main(["planner", *options.split(), "--out", str(tmp_path / "t.md")])
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in (tmp_path / "t.md").read_text().splitlines()]
    header, _, *layers, near = [line for line in lines if line]
    assert header == ["foreseen / measured, images", "60", "900"]
    assert [line[0] for line in layers] == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    for column in (1, 2):
        pairs = [[float(part) for part in line[column].split(" / ")] for line in layers]
        assert all(foreseen >= 0 and measured >= -1e-3 for foreseen, measured in pairs)
        assert near[column].endswith(" of 5")
    assert "within 1.5" in capsys.readouterr().out


def test_single_layers_that_are_near_are_within_a_factor():
    near = [Alone("a", foreseen, 0.3).near for foreseen in (0.19, 0.21, 0.44, 0.46)]
    assert near == [False, True, True, False]
    rows = [Alone(str(n), 0.1, 0.1 if n else 1.0) for n in range(10)]
    assert show({50: rows}, "", None)
    assert not show({50: rows, 60: rows[:9]}, "", None)


def test_what_falls_short_is_bold_and_fails():
    good, bad = Accuracy(88.5, 99.0, 0.4), Accuracy(80.0, 99.0, 0.7)

    def table(top, predicted, seconds):
        trials = [Trial(s, f, f, bad, top, seconds, 1, 1, 1) for s in (0, 1) for f in FRACTIONS]
        ranking = Ranking(predicted, [0.1, 0.2, 0.3], 10)
        return planner_table.lines("resnet20", sorted(CIFAR10), 88.28, trials, [], ranking), trials

    rows, trials = table(good, [1.0, 2.0, 3.0], 10.0)
    assert [row.asked for row in rows if row.asked] == ["88.2", "87.6", "86.6", "84.5", "<= 15", "0.9"]
    assert [row.reached for row in rows if row.asked] == [True] * 6
    assert rows[1].others == "BALF 83.18, plain SVD 59.9"
    assert rows[1].measured == "88.50 ± 0.00"
    assert planner_table.show(rows, "a caption", None, trials)
    rows, trials = table(bad, [3.0, 2.0, 1.0], 70.0)
    assert [row.reached for row in rows if row.asked] == [False] * 6
    assert not planner_table.show(rows, "a caption", None, trials)


def test_the_markdown_table(tmp_path):
    rows = [planner_table.Line("macs=0.5", "80.00", "86.8", False, "BALF 70.7")]
    planner_table.show(rows, "What made it.", tmp_path / "docs" / "t.md", [])
    lines = Path(tmp_path / "docs" / "t.md").read_text().splitlines()
    assert lines[2] == "| macs=0.5 | BALF 70.7 | **80.00** | 86.8 |"
    assert lines[-1] == "What made it."
