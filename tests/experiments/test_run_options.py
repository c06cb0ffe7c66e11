"""What a run does beside comparing: carry out a plan that is given, several seeds, networks for another runtime."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from quick_runs import QUICK
from run_folders import results, row
from safetensors.torch import save_model

from experiments.__main__ import main as verbs
from experiments.lab.config import Config, Output, Training
from experiments.lab.models.lenet import LeNet, LeNet5
from experiments.lab.recipes.job import look_up
from experiments.lab.recipes.saved import configuration, read_network
from experiments.lab.reporting.seeds import seeds_table
from experiments.lab.steps.state import stored
from experiments.run.__main__ import main as run
from layers import OnnxNetwork, load, load_frequency_layers


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """(folder, LeNet's weights, the plan of it by predicted loss)."""
    folder = tmp_path_factory.mktemp("given")
    torch.manual_seed(0)
    save_model(LeNet(), str(folder / "a.safetensors"))
    words = f"plan --checkpoint {folder}/a.safetensors --kernel auto --budget macs=0.5 --out {folder}/plan.json"
    assert verbs(words.split()) == 0
    return folder


def test_a_plan_that_is_given_makes_the_network_that_it_was_made_for(given, tmp_path):
    for words in ("--kernel auto --selector loss --budget macs=0.5", f"--plan {given}/plan.json"):
        arguments = f"{words} --checkpoint {given}/a.safetensors --max-epochs 0 --no-track --out {tmp_path}"
        assert run(arguments.split()) == 0
    (chosen,), (planned,) = tmp_path.glob("*/auto"), tmp_path.glob("*/planned")
    assert (chosen / "model.safetensors").read_bytes() == (planned / "model.safetensors").read_bytes()
    assert (chosen / "plan.json").read_bytes() == (planned / "plan.json").read_bytes()


def test_several_seeds_are_runs_of_their_own_and_one_table(tmp_path, capsys):
    assert run(["--kernel", "svd", *QUICK, "--seeds", "0", "3", "--out", str(tmp_path)]) == 0
    output = Output(tmp_path)
    names = {Config(output=output, training=Training(seed=seed)).name.split("-")[0] for seed in (0, 3)}
    assert names == {"digits"}
    assert len(list(tmp_path.glob("*/results.json"))) == 2
    assert "mean ± standard deviation over seeds 0, 3" in capsys.readouterr().out
    assert run(["--kernel", "svd", *QUICK, "--seed", "3", "--out", str(tmp_path)]) == 0
    assert len(list(tmp_path.iterdir())) == 2  # that run was there


def test_means_and_deviations_by_hand():
    runs = {
        seed: results(row("dense", top1=top1), row("svd", 0.5, top1=top1 - 2, latency_64_noisy=seed == 1))
        for seed, top1 in ((0, 97.0), (1, 98.0), (2, 99.0))
    }
    table = seeds_table(runs)
    cells = [dict(zip(table.header, line)) for line in table.rows]
    assert [line["top-1, %"] for line in cells] == ["98.00 ± 1.00", "96.00 ± 1.00"]
    assert [line["network"] for line in cells] == ["dense", "svd"]
    assert [line["MACs, k"] for line in cells] == ["400", "200"]
    assert [line["batch 64, ms"].endswith(" busy") for line in cells] == [False, True]


@pytest.mark.slow  # beside tests/layers/test_export.py
def test_every_network_is_exported_with_named_ends_also_of_a_complete_run(tmp_path, capsys):
    words = ["--kernel", "svd", "dct", *QUICK, "--out", str(tmp_path)]
    assert run(words) == 0
    assert run([*words, "--export", "onnx"]) == 0
    (folder,) = tmp_path.iterdir()
    x = torch.randn(3, 1, 32, 32)
    for network in ("svd", "dct"):
        session = onnxruntime.InferenceSession(folder / network / "model.onnx")
        assert [end.name for end in (*session.get_inputs(), *session.get_outputs())] == ["images", "logits"]
        (y,) = session.run(None, {"images": x.numpy()})
        np.testing.assert_allclose(y, load(folder / network, LeNet()).eval()(x).detach().numpy(), atol=1e-4)
        facts = session.get_modelmeta().custom_metadata_map
        assert (facts["network"], facts["run"]) == (network, folder.name)
        kept = json.loads((folder / network / "preprocessing.json").read_text())
        assert json.loads(facts["preprocessing"]) == kept
        assert (kept["mean"], kept["std"]) == ([0.305], [0.37])
    assert (folder / "dense.onnx").is_file()
    read = read_network(look_up(configuration(folder)), folder, "svd")
    assert not isinstance(read, OnnxNetwork)  # its tensors are the network, not what was exported
    assert stored(folder / "svd") == (folder / "svd" / "model.safetensors").stat().st_size
    assert f"exported: {folder}/svd/model.onnx" in capsys.readouterr().out


@pytest.mark.slow
def test_networks_of_frequency_layers_are_exported(tmp_path):
    words = "--frequency --kernel dct --model lenet5 --max-epochs 1 --no-track --export onnx"
    assert run([*words.split(), "--out", str(tmp_path)]) == 0
    (folder,) = tmp_path.iterdir()
    x = torch.randn(2, 1, 32, 32)
    (y,) = onnxruntime.InferenceSession(folder / "dct.onnx").run(None, {"images": x.numpy()})
    network = load_frequency_layers(folder / "dct.safetensors", LeNet5()).eval()
    np.testing.assert_allclose(y, network(x).detach().numpy(), atol=1e-4)
