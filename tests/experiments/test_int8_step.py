"""`int8`: the last step of a list, chosen by validation, stored as model.onnx, counted and timed on the same scale."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from little import PLAIN, little
from torch import nn

from experiments.lab.evaluation.workshop import Workshop
from experiments.lab.models.lenet import LeNet
from experiments.lab.steps import int8
from experiments.lab.steps.language import parse, written
from experiments.lab.steps.state import State
from experiments.run.__main__ import main
from layers import OnnxNetwork, cost
from layers.checkpoint.int8 import quantised
from layers.costs import file_cost, file_memory

IMAGE = torch.zeros(2, 1, 32, 32)


def forbidden():
    raise AssertionError("the test split chooses nothing")


@pytest.fixture(scope="module")
def shop():
    torch.manual_seed(0)
    dataset = little(images=64, size=32)._replace(test=forbidden)
    return Workshop(LeNet(2).eval(), IMAGE, dataset, "cpu", PLAIN, 4, count=16, trained=True)


def test_the_file_is_stored_and_read_back_bit_for_bit(shop, tmp_path):
    steps = parse("weights 0.5, int8 method=minmax images=16")
    start = State.of(shop)
    pruned = steps[0].apply(start, shop)
    assert steps[1].check(pruned, shop) is pruned
    made = replace(steps[1].apply(pruned, shop), done=steps)
    made.keep(tmp_path / "kept")
    read = State.read(tmp_path / "kept", shop.dense, steps, made.form, made.binary)
    assert read.onnx == made.onnx == (tmp_path / "kept" / "model.onnx").read_bytes()
    network = read.network()
    assert isinstance(network, OnnxNetwork)
    x = torch.rand(3, 1, 32, 32)
    with torch.no_grad():
        want = pruned.plain().eval()(x)
        assert (network(x) - want).norm() < 0.05 * want.norm()
    counted, dense = file_cost(made.onnx), cost(shop.dense, x)
    assert (counted.params, counted.macs) == (dense.params, dense.macs)
    assert 0.45 < counted.nonzeros / dense.params < 0.6  # zeros stay zero
    assert OnnxNetwork(made.onnx).metadata["classes"] == '["0", "1"]'
    grows = [file_memory(made.onnx, torch.zeros(n, 1, 32, 32)) for n in (1, 2048)]
    assert len(made.onnx) < grows[0] < grows[1] - 2048 * 1024


def test_the_method_is_chosen_by_validation(shop, monkeypatch):
    broken = nn.Sequential(nn.Flatten(), nn.Linear(1024, 2))
    nn.init.zeros_(broken[1].weight)
    good = nn.Sequential(nn.Flatten(), nn.Linear(1024, 2, bias=False))  # brightness is the class
    good[1].weight.data = torch.stack([-torch.ones(1024), torch.ones(1024)])
    images = [images for images, _ in shop.images(shop.dense, ()).batches]
    files = {name: quantised(good if name == "entropy" else broken, images) for name in ("minmax", "entropy")}

    def given(model, batches, method, facts, compensate):
        assert sum(map(len, batches)) == 16
        if method not in files:
            raise ValueError(f"network for method {method} must be another")
        return files[method]

    monkeypatch.setattr(int8, "quantised", given)
    monkeypatch.setattr(int8, "METHODS", ("minmax", "entropy"))
    assert parse("int8")[0].apply(State.of(shop), shop).onnx == files["entropy"]
    monkeypatch.setattr(int8, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"method of int8 must be installed here \(pip install -e '.\[int8\]'\)"):
        parse("int8 method=nncf")[0].check(State.of(shop), shop)
    with pytest.raises(ValueError, match="images of int8 must be 1 to 16, the calibration images, got 17"):
        parse("int8 images=17")[0].check(State.of(shop), shop)


def test_it_is_trained_as_it_will_compute(shop, monkeypatch):
    (step,) = parse("int8 finetune=2 method=minmax images=16")
    assert written(step) == "int8 method=minmax images=16 finetune=2"
    assert "8-bit integers, trained like that for 2 epochs, scales from 16 images by minmax" in step.said(512)
    monkeypatch.setattr(int8, "compensated_network", lambda *_: pytest.fail("its weights are on the grid already"))
    trained = []
    real = int8.tune

    def tune(model, *rest):
        """Train, and then move every weight, whether an epoch was better than the start or not."""
        assert all(hasattr(module, "rounded_input") for module in model.modules() if isinstance(module, nn.Linear))
        real(model, *rest)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.5)
        trained.append(model)

    monkeypatch.setattr(int8, "tune", tune)
    pruned = parse("weights 0.5")[0].apply(State.of(shop), shop)
    made, x = step.apply(pruned, shop), torch.rand(3, 1, 32, 32)
    (model,) = trained
    with torch.no_grad():
        want = model(x)
        assert (OnnxNetwork(made.onnx)(x) - want).norm() < 0.05 * want.norm()
        assert (want - pruned.plain().eval()(x)).norm() > 0.1 * want.norm()
    assert 0.45 < file_cost(made.onnx).nonzeros / cost(shop.dense, IMAGE[:1]).params < 0.6  # zeros stay zero
    with pytest.raises(ValueError, match="finetune of int8 must be a number of epochs, 0 for none, got -1"):
        parse("int8 finetune=-1")


def test_a_network_that_has_no_8_bits_is_refused_before_anything_is_trained(shop):
    odd = replace(shop, dense=nn.Sequential(nn.Flatten(), nn.BatchNorm1d(1024)))
    with pytest.raises(ValueError, match="network to quantise must be one with a convolution or a matrix product"):
        parse("int8")[0].check(State(odd.dense, State.of(shop).plan), odd)


RUN = """
import json, numpy, onnxruntime
session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
assert json.loads(session.get_modelmeta().custom_metadata_map["preprocessing"]) ["mean"]
(entry,) = session.get_inputs()
print(session.run(None, {"images": numpy.zeros((1, *entry.shape[1:]), numpy.float32)})[0].shape)
"""


def test_a_run_to_8_bits(tmp_path):
    words = ["--max-epochs", "1", "--latency-batches", "1", "2", "--rep", "--no-track", "--calibration-images", "64"]
    words += ["--compress", "int8 method=minmax", "--out", str(tmp_path)]
    assert main(words) == 0
    (folder,) = tmp_path.iterdir()
    dense, row = json.loads((folder / "results.json").read_text())["rows"]
    file = folder / "int8-method-minmax" / "model.onnx"
    assert row["bytes"] == file.stat().st_size < 0.3 * dense["bytes"]
    assert (row["params"], row["macs"]) == (dense["params"], dense["macs"])
    assert abs(row["top1"] - dense["top1"]) < 3
    last = row["ladder"][-1]
    assert 8 < last["bits"] < 9
    assert row["float32_onnx"]["latency_2"] > 0
    assert row["peak_memory"] > 0
    assert "as the same .onnx in float32" in (folder / "report.html").read_text()
    done = subprocess.run(
        [sys.executable, "-I", "-c", RUN], cwd=file.parent, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "(1, 10)"
    assert main([*words, "--export", "onnx"]) == 0
    assert (folder / "dense.onnx").is_file()
