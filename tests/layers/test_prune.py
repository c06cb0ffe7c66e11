"""Pruned, binary and half networks: chosen by hand-checked scores, kept through training, folded to plain layers."""

import copy
import json
from pathlib import Path

import pytest
import torch
from kills import same_bits
from little import PLAIN, fit, little
from torch import nn

from experiments.compare.__main__ import main as compare
from experiments.lab.evaluation.workshop import Workshop
from experiments.lab.models.lenet import LeNet
from experiments.lab.steps import half
from experiments.lab.steps.state import State
from experiments.run.__main__ import main
from layers import fold, load
from layers.network import network_bytes
from layers.thinning import Half, binarise, gradual, mask, masks, zeros
from layers.thinning.weights import SCORES, lamp


def two_layers():
    """Weights 1 to 4 and 10 to 60, of either sign."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, -4.0]]))
        model[1].weight.copy_(torch.tensor([[10.0, -20.0], [30.0, -40.0], [-50.0, 60.0]]))
    return model


def test_magnitudes_of_all_layers_are_held_against_each_other():
    chosen = masks(two_layers(), 0.3)
    assert chosen["0"].tolist() == [[0, 0], [0, 1]]
    assert chosen["1"].tolist() == [[1, 1], [1, 1], [1, 1]]
    assert {name: one.tolist() for name, one in masks(two_layers(), 0.3, kinds=(nn.Conv2d, nn.Linear)).items()} == {
        name: one.tolist() for name, one in chosen.items()
    }


def test_each_layer_loses_its_share_of_its_own_weights():
    chosen = masks(two_layers(), 0.5, per_layer=True)
    assert chosen["0"].tolist() == [[0, 0], [1, 1]]
    assert chosen["1"].tolist() == [[0, 0], [0, 1], [1, 1]]


def test_shares_rise_as_zhu_and_gupta_have_them_and_masks_of_them_grow():
    assert [gradual(epoch, 2, 0.8) for epoch in (0, 1)] == pytest.approx([0.7, 0.8])  # 0.8 (1 - 1/8)
    assert gradual(0, 1, 0.5) == 0.5
    torch.manual_seed(0)
    model, before = LeNet(2), None
    for epoch in range(4):
        model = fold(mask(model, masks(model, gradual(epoch, 4, 0.8))))
        zero = {name: module.weight == 0 for name, module in model.named_modules() if hasattr(module, "weight")}
        assert before is None or all(bool(zero[name][gone].all()) for name, gone in before.items())
        before = zero
    with pytest.raises(ValueError, match="epoch must be from 0 to 3, got 4"):
        gradual(4, 4, 0.8)


def test_lamp_by_hand():
    scores = lamp(torch.tensor([[1.0, -2.0], [3.0, -4.0]]))
    torch.testing.assert_close(scores, torch.tensor([[1 / 30, 4 / 29], [9 / 25, 1.0]]))
    assert lamp(torch.zeros(3)).tolist() == [0, 0, 0]
    chosen = masks(two_layers(), 0.8, "lamp")
    assert [int(one.sum()) for one in chosen.values()] == [1, 1]  # the largest of each layer is the last to go


@pytest.mark.parametrize("score", SCORES)
def test_masked_weights_stay_zero_in_training_and_fold_to_plain_layers(score):
    torch.manual_seed(0)
    dataset, model = little(size=32), LeNet(2)
    before = copy.deepcopy(model.state_dict())
    chosen = masks(model, 0.7, score)
    assert sum(int((one == 0).sum()) for one in chosen.values()) == round(0.7 * sum(m.numel() for m in chosen.values()))
    assert fit(mask(model, chosen), dataset, PLAIN, epochs=6, lr=0.1, batch=16) > 90
    plain = fold(model)
    assert plain.state_dict().keys() == before.keys()
    for name, one in chosen.items():
        weight = plain.get_submodule(name).weight
        assert torch.equal(weight == 0, one == 0)
        assert not torch.equal(weight, before[f"{name}.weight"] * one)  # the others have moved
    shares = zeros(plain)
    assert shares.keys() == chosen.keys()
    assert len(network_bytes(plain)) < 0.36 * len(network_bytes(LeNet(2)))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((two_layers(), 0.0), "fraction to prune must be above 0 and below 1, got 0.0"),
        ((two_layers(), 1.0), "fraction to prune must be above 0 and below 1, got 1.0"),
        ((two_layers(), 0.5, "best"), "score must be one of l1, lamp, got 'best'"),
        ((two_layers(), 0.5), "fraction to prune must be small enough to leave layer '0' a weight, got 0.5"),
        ((nn.Sequential(nn.Linear(1, 1)), 0.6, "l1", nn.Module), "to leave layer '0' a weight"),
        ((nn.ReLU(), 0.5), "model must be one with convolutions or Linear layers to prune, got 'ReLU'"),
        ((two_layers(), 0.5, "l1", nn.Conv2d), "model must be one with convolutions"),
    ],
)
def test_what_cannot_be_pruned(arguments, words):
    with pytest.raises(ValueError, match=words):
        masks(*arguments)


def test_binary_weights_and_their_gradient_by_hand():
    layer = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[0.5, -1.5], [0.0, 0.2]]))
    binarise(layer)
    # V is clipped to [-1, 1] first: alpha = (0.5 + 1) / 2 and (0 + 0.2) / 2
    torch.testing.assert_close(layer.weight, torch.tensor([[0.75, -0.75], [0.1, 0.1]]))
    x = torch.tensor([[2.0, 3.0]])
    layer(x).sum().backward()
    original = layer.parametrizations.weight.original
    assert torch.equal(original.grad, x.expand(2, 2))  # as for W: straight through
    assert original.abs().max() == 1
    with torch.no_grad():
        assert torch.equal(layer.eval().weight, layer.train().weight)


def test_binary_networks_learn_and_keep_two_values_per_filter():
    torch.manual_seed(0)
    model = binarise(LeNet(2))
    assert fit(model, little(size=32), PLAIN, epochs=4, lr=0.05, batch=16) > 90
    plain = fold(model)
    for module in plain.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            assert all(len(row.abs().unique()) == 1 for row in module.weight.flatten(1))
    assert len(network_bytes(plain)) < 0.06 * len(network_bytes(LeNet(2)))
    with pytest.raises(ValueError, match="one with convolutions or Linear layers to binarise"):
        binarise(nn.ReLU())


def test_pruned_and_binary_is_zero_or_one_of_two_values():
    model = LeNet(2)
    chosen = masks(model, 0.5)
    plain = fold(mask(binarise(model), chosen))
    for name, one in chosen.items():
        weight = plain.get_submodule(name).weight
        assert torch.equal(weight == 0, one == 0)
        assert all(len(row[row != 0].abs().unique()) <= 1 for row in weight.flatten(1))


def test_half_answers_in_float32_what_float16_computes():
    torch.manual_seed(0)
    model, x = LeNet(), torch.randn(4, 1, 32, 32)
    wanted, half = model(x), Half(copy.deepcopy(model))
    got = half(x)
    assert got.dtype == torch.float32
    assert not torch.equal(got, wanted)
    torch.testing.assert_close(got, wanted, rtol=1e-2, atol=1e-3)
    assert {p.dtype for p in half.parameters()} == {torch.float16}


@pytest.mark.parametrize("layer", [nn.Conv2d(3, 8, 3, padding=1), nn.ConvTranspose2d(3, 8, 3), nn.Linear(6, 8)])
def test_a_cpu_without_float16_arithmetic_rounds_every_layer_to_float16(layer, monkeypatch):
    layer = copy.deepcopy(layer)
    x = torch.randn(2, 3, 6, 6)
    half = Half(nn.Sequential(layer, nn.Identity()))
    monkeypatch.setattr(half, "_emulated", lambda x: True)
    got = half(x)
    summed = layer.float()(x.half().float())  # float16 numbers, float32 sums
    assert torch.equal(got, summed.half().float())
    layer.half()
    monkeypatch.setattr(half, "_emulated", lambda x: False)
    torch.testing.assert_close(got, half(x), rtol=2**-9, atol=2**-10)


def test_half_is_exported_in_float16_whatever_this_cpu_has():
    half = Half(LeNet()).eval()
    graph = torch.export.export(half, (torch.randn(2, 1, 32, 32),)).graph
    convolutions = [node for node in graph.nodes if "conv2d" in str(node.target)]
    assert convolutions
    assert {node.meta["val"].dtype for node in convolutions} == {torch.float16}
    assert {node.args[0].meta["val"].dtype for node in convolutions} == {torch.float16}


QUICK = "--max-epochs 2 --finetune-epochs 1 --rep --no-track --latency-batches 1"


def rows(out):
    (folder,) = out.iterdir()
    return folder, json.loads((folder / "results.json").read_text())["rows"]


def test_the_dense_network_alone_is_pruned(tmp_path, capsys):
    assert main([*f"{QUICK} --kernel None --prune 0.6 --prune-score lamp --out {tmp_path}".split()]) == 0
    folder, (dense, pruned) = rows(tmp_path)
    heads = capsys.readouterr().out.split("dense")[0]
    assert {"size,", "before", "tuning,"} <= set(heads.split())
    assert pruned["bytes"] == (folder / "pruned" / "model.safetensors").stat().st_size
    assert pruned["bytes"] < 0.46 * dense["bytes"]  # 40 % of the numbers and their places
    assert 0 <= pruned["top1_before"] <= 100
    assert dense["top1_before"] is None
    assert (dense["network"], pruned["network"], pruned["budget"]) == ("dense", "pruned", "")
    assert pruned["top1"] > 30  # of ten classes, after two epochs
    assert pruned["compressed"] == pruned["bytes"] < dense["compressed"] < dense["bytes"]
    assert pruned["params"] == dense["params"]
    saved = load(folder / "pruned", LeNet())
    weights = [m.weight for m in saved.modules() if isinstance(m, (nn.Conv2d, nn.Linear))]
    share = sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)
    assert share == pytest.approx(0.6, abs=1e-3)
    page = (folder / "report.html").read_text()
    assert "60% of the weights set to zero by lamp" in page
    assert "% zero" in page
    assert compare([folder.name, "--runs", str(tmp_path), "--out", str(tmp_path / "table.csv")]) == 0
    header, _, line = (tmp_path / "table.csv").read_text().splitlines()
    cells = dict(zip(header.split(","), line.split(",")))
    assert float(cells["bytes / dense"]) == pytest.approx(pruned["bytes"] / dense["bytes"])


# with half in the command of test_channels_command.py
@pytest.mark.parametrize("bits", [pytest.param("half", marks=pytest.mark.slow), "binary"])
def test_after_a_kernel_networks_are_pruned_and_quantised(bits, tmp_path):
    words = f"{QUICK} --kernel svd --budget params=0.7 --layers linear --prune 0.5 --quantise {bits} --out {tmp_path}"
    assert main(words.split()) == 0
    folder, (dense, small) = rows(tmp_path)
    assert small["network"] == f"svd-pruned-{bits}"
    assert small["params"] <= 0.7 * dense["params"]
    assert small["top1"] > 20
    assert small["compressed"] < 0.6 * dense["compressed"]
    saved = load(folder / small["network"], LeNet())
    assert saved.fc1[0].weight.dtype == torch.float32
    if bits == "half":
        assert small["bytes"] < 0.55 * dense["bytes"]
        assert torch.equal(saved.fc1[0].weight, saved.fc1[0].weight.half().float())
    else:
        assert all(len(row[row != 0].abs().unique()) <= 1 for row in saved.fc1[0].weight)
        assert not (saved.conv1.weight == 0).any()  # --layers linear


@pytest.mark.slow  # test_states.py holds the same in milliseconds
def test_a_run_killed_in_fine_tuning_a_pruned_binary_network_ends_with_the_same_bits(tmp_path):
    arguments = "--kernel None --prune 0.5 --quantise binary --max-epochs 1 --finetune-epochs 2 --rep --no-track"
    arguments = [*arguments.split(), "--latency-batches", "1"]
    networks = same_bits(tmp_path, arguments, 17 + 17 + 5)
    assert Path("pruned-binary/model.safetensors") in {Path(*path.parts[1:]) for path in networks}


def test_a_network_that_cannot_run_in_float16_is_refused():
    class Single(LeNet):
        def forward(self, x):
            return super().forward(x.float())

    shop = Workshop(Single(), torch.randn(1, 1, 32, 32), None, "cpu", None, 1)
    with pytest.raises(ValueError, match="network for half must run in float16 here, got"):
        half.Half().check(State.of(shop), shop)
