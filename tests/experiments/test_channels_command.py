"""`--prune-channels`: channels are taken out before all else, counted from the dense network, refused in a sentence."""

import json

import pytest
import torch
from kills import same_bits
from loaders import loader
from networks import network

from experiments.lab.evaluation.workshop import Workshop
from experiments.lab.models.lenet import LeNet
from experiments.lab.steps.channels import Channels
from experiments.lab.steps.kernel import from_dense
from experiments.lab.steps.state import State
from experiments.plan import main as plan_main
from experiments.run.__main__ import main
from layers import Budget, Plan, cost, load
from layers.planning.plan import Seconds

QUICK = "--max-epochs 1 --finetune-epochs 1 --rep --no-track --latency-batches 1"


def rows(out):
    (folder,) = (path for path in out.iterdir() if path.is_dir())
    return folder, json.loads((folder / "results.json").read_text())["rows"]


@pytest.mark.parametrize(
    ("arguments", "name", "kept"),
    [
        ("--kernel None --reestimate-batchnorm", "thin", 0.26),
        ("--kernel svd --budget params=0.7 --distill 0.5", "thin-svd", 0.18),
        ("--kernel auto --budget macs=0.8 --calibration-images 50", "thin-auto", 0.26),
        ("--kernel dct --budget params=0.5", "thin-dct", 0.13),
        ("--kernel svd --budget params=0.7 --prune 0.5 --quantise half", "thin-svd-pruned-half", 0.18),
    ],
)
def test_the_runner_takes_channels_out_before_all_else(arguments, name, kept, tmp_path, capsys):
    assert main([*f"{QUICK} --prune-channels 0.5 {arguments} --out {tmp_path}".split()]) == 0, capsys.readouterr().err
    folder, (dense, small) = rows(tmp_path)
    assert small["network"] == name
    assert 0.8 * kept < small["params"] / dense["params"] <= kept
    assert small["macs"] < 0.35 * dense["macs"]
    plan = Plan.load(folder / name / "plan.json")
    assert plan.before[:2] == (dense["params"], dense["macs"])
    assert (plan.after.params, plan.after.macs) == (small["params"], small["macs"])
    assert plan.widths["fc1"] == {"in_features": 200, "out_features": 60}
    saved = load(folder / name, LeNet())
    if "half" not in name:
        assert cost(saved, torch.zeros(1, 1, 32, 32)).params == small["params"]
    elsewhere = loader(folder / name)(folder / name, LeNet().eval())
    with torch.no_grad():
        assert torch.equal(elsewhere(torch.ones(1, 1, 32, 32)), saved.eval()(torch.ones(1, 1, 32, 32)))
    page = (folder / "report.html").read_text()
    assert "50% of the channels of each layer taken out" in page
    assert "out_features 120 &gt; 60" in page
    if name == "thin":
        assert "every layer as in the dense network" not in page


def test_a_plan_by_latency_counts_from_the_dense_network():
    model, x = network("lenet")
    shop = Workshop(model, x, None, "cpu", None, 1)
    dense = State.of(shop)
    thin = Channels(0.5, score="l2", refit=False).apply(dense, shop)
    plan = Plan((), Budget(latency=0.5), "energy", cost(thin.model, x), cost(thin.model, x), Seconds(1e-9, 4.0))
    found = from_dense(plan, thin, shop)
    assert found.seconds.after == 4
    assert 5e-10 < found.seconds.before < 1e-7  # as many times the thinner one's as it takes
    assert (found.before, found.after, found.widths) == (cost(model, x), cost(thin.model, x), thin.plan.widths)
    assert from_dense(plan, dense, shop) is plan


@pytest.mark.slow  # test_states.py holds the same in milliseconds
@pytest.mark.parametrize("steps", [17, 17 + 17 + 5])  # before the first step of fine-tuning, and in its second epoch
def test_a_run_killed_in_fine_tuning_the_thinner_network_ends_with_the_same_bits(steps, tmp_path):
    arguments = "--kernel svd --prune-channels 0.5 --max-epochs 1 --finetune-epochs 2 --latency-batches 1"
    arguments = [*arguments.split(), "--rep", "--no-track"]
    networks = same_bits(tmp_path, arguments, steps)
    assert any(path.parent.name == "thin-svd" for path in networks)


def test_a_plan_of_the_thinner_network_is_printed_and_kept(tmp_path, capsys):
    assert main([*f"{QUICK} --kernel None --out {tmp_path}".split()]) == 0
    (folder,) = tmp_path.iterdir()
    words = f"--checkpoint {folder}/dense.safetensors --kernel svd --budget params=0.5 --out {tmp_path}/plan.json"
    capsys.readouterr()
    assert plan_main([*words.split(), "--prune-channels", "0.5"]) == 0
    printed = capsys.readouterr().out
    plan = Plan.load(tmp_path / "plan.json")
    assert plan.before.params == 61_706
    assert plan.after.params <= 0.5 * 15_738
    assert f"params: {plan.after.params:,} of 61,706" in printed
    assert plan.widths["conv1"] == {"out_channels": 3}
