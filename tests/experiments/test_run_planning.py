"""How a run makes its plans: from its options, calibrated once, on training images drawn by seed."""

import torch
from quick_runs import QUICK, results

from experiments.lab.config import Compression, Data
from experiments.lab.data import load_dataset
from experiments.lab.evaluation import calibration
from experiments.lab.models.lenet import LeNet
from experiments.lab.recipes import rows
from experiments.lab.steps import kernel as kernel_step
from experiments.lab.training.classifier import Classifier
from experiments.run.__main__ import main
from layers import Budget, Plan, calibrate
from layers.planning import survey_network


def test_all_rows_are_made_by_predicted_loss_with_a_refit(tmp_path, capsys, caplog):
    arguments = f"--kernel auto svd --budget macs=0.5 --reestimate-batchnorm --out {tmp_path}"
    assert main([*arguments.split(), *QUICK]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "BatchNorm statistics of compressed networks measured anew" in printed
    assert caplog.text.count("BatchNorm is measured anew after a refit, which has fitted it already") == 2
    assert "auto, svd: ranks by selector loss, refit" in printed
    (folder,) = tmp_path.iterdir()
    dense, auto, svd = results(folder)["rows"]
    assert [dense["network"], auto["network"], svd["network"]] == ["dense", "auto", "svd"]
    assert [(row["selector"], row["refit"]) for row in (dense, auto, svd)] == [("", False), *[("loss", True)] * 2]
    assert dense["top1_before"] is None
    assert min(auto["top1_before"], svd["top1_before"]) > 30  # before the one epoch of fine-tuning
    plan = Plan.load(folder / "auto" / "plan.json")
    assert plan.selector == "loss"
    assert len({row.kernel for row in plan.layers} - {None}) > 1
    assert auto["macs"] == plan.after.macs <= 0.5 * dense["macs"]
    assert auto["top1"] > 30
    page = (folder / "report.html").read_text()
    assert "of kernels svd, spatial, tucker, ht, cp; calibrated with 1,077 training images; factors refitted" in page


def test_calibration_runs_once_and_a_killed_run_plans_nothing_twice(tmp_path, monkeypatch):
    calls, rates = [], []
    monkeypatch.setattr(calibration, "calibrate", lambda *a, **k: calls.append(1) or calibrate(*a, **k))
    monkeypatch.setattr(kernel_step, "survey_network", lambda *a: rates.append(1) or survey_network(*a))
    step, steps = Classifier.training_step, iter(range(1, 1000))

    def killed(*args):
        if next(steps) == 2 * 17 + 17 + 1:  # the first step of fine-tuning spatial
            raise ValueError("killed")
        return step(*args)

    monkeypatch.setattr(Classifier, "training_step", killed)
    arguments = ["--kernel", "svd", "spatial", "--selector", "loss", "--calibration-images", "500"]
    arguments += [*QUICK, "--out", str(tmp_path)]
    assert main(arguments) == 2
    assert (len(calls), len(rates)) == (1, 4)  # two plans tried before training, two made after it
    assert main(arguments) == 0
    assert (len(calls), len(rates)) == (1, 6)  # tried again; the begun network's own is on the disk


def test_defaults_of_selector_budget_and_refit():
    def made(kernel, **options):
        step = rows.kernel_of(kernel, Compression((kernel,), **options))
        return step.budget, step.selector, step.refits

    for kernel in ("svd", "spatial", "cp", "auto"):
        assert made(kernel) == (Budget(macs=0.5), "loss", True)
    assert made("dct") == (Budget(params=0.5), "loss", False)
    assert made("svd", selector="energy") == (Budget(macs=0.5), "energy", False)
    assert made("auto", refit=False) == (Budget(macs=0.5), "loss", False)
    assert made("svd", selector="energy", refit=True, budget="latency=0.5") == (Budget(latency=0.5), "energy", True)


def test_calibration_images_are_training_images_drawn_by_seed():
    data = load_dataset(Data(), 0)
    model = LeNet()
    first, again, other = (calibration.Calibration.draw(model, data, 129, seed, "cpu") for seed in (0, 0, 1))
    images, labels = (torch.cat(part) for part in zip(*first.batches))
    assert [len(batch[0]) for batch in first.batches] == [65, 64]  # no last batch of one
    train = data.preprocessing.normalised(data.train().images).flatten(1)
    places = [int((train == image).all(1).nonzero()[0]) for image in images.flatten(1)]
    assert len(set(places)) == 129
    assert torch.equal(labels, data.train().labels[places])
    assert torch.equal(images, torch.cat([batch[0] for batch in again.batches]))
    assert not torch.equal(images, torch.cat([batch[0] for batch in other.batches]))
