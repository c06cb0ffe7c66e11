"""`experiments.deploy`: files that run elsewhere, one table, and no broken promise that ends in exit code 0."""

import functools
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from PIL import Image
from torch import nn
from torchvision.transforms import v2

from experiments.deploy import files, measure, planned, promises
from experiments.deploy.__main__ import main
from experiments.deploy.blame import blamed, blamed_in_float
from experiments.deploy.cells import Cell, cells
from experiments.lab.data.preprocessing import Preprocessing
from experiments.run.__main__ import main as run
from layers import Plan, export, export_int8

ROW = {
    "network": "svd",
    "runtime": "torch",
    "precision": "32",
    "device": "cpu",
    "top1": 90.0,
    "deviation": 1e-6,
    "latency_1": 1.0,
    "latency_1_low": 0.9,
    "latency_1_high": 1.1,
    "latency_1_noisy": False,
}
DENSE = {**ROW, "network": "dense"}
PROBED = (1, (1, 32, 32), 1, False)  # batch, shape of an image, threads, channels_last


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    words = ["--max-epochs", "1", "--finetune-epochs", "0", "--kernel", "svd", "--latency-batches", "1", "--no-track"]
    assert run([*words, "--out", str(out)]) == 0
    return next(out.glob("digits-*"))


@pytest.fixture(scope="module")
def deployed(folder):
    """(exit code, deploy.json); every file has the load time and memory of one: a process for each takes seconds."""
    words = ["--runtimes", "torch", "onnxruntime", "--precisions", "32", "int8", "--batches", "1", "--tolerance", "100"]
    probe = measure.probed
    with pytest.MonkeyPatch.context() as patch:
        one = functools.cache(lambda: probe(Cell("onnxruntime", "int8"), folder / "deploy" / "svd", *PROBED))
        patch.setattr(measure, "probed", lambda *_: one())
        code = main([str(folder), *words])
    return code, json.loads((folder / "deploy" / "deploy.json").read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("cell", [Cell("torch", "32"), Cell("onnxruntime", "32")], ids=str)
def test_a_process_of_its_own_tells_how_a_file_loads(cell, folder, deployed):
    told = measure.probed(cell, folder / "deploy" / "svd", *PROBED)
    assert told["load_seconds"] > 0
    assert told["peak_memory"] > 0


def test_every_file_answers_as_torch_does(folder, deployed):
    _, told = deployed
    cell = {(row["network"], row["runtime"], row["precision"]): row for row in told["rows"]}
    names = {name for name, _, _ in cell}
    assert names == {"dense", "svd"}
    for (name, runtime, precision), row in cell.items():
        assert row["file_bytes"] == (folder / "deploy" / name / _file(runtime, precision)).stat().st_size
        assert row["load_seconds"] > 0
        assert row["latency_1"] > 0
        if precision == "32":
            assert row["agreement"] == 100
            assert row["deviation"] < promises.EXACT
    assert cell["dense", "onnxruntime", "int8"]["file_bytes"] < cell["dense", "onnxruntime", "32"]["file_bytes"] / 2
    promised = {row["network"]: row["top1"] for row in json.loads((folder / "results.json").read_text())["rows"]}
    assert all(cell[name, "torch", "32"]["top1"] == pytest.approx(promised[name]) for name in names)


def _file(runtime, precision):
    return "model-int8.onnx" if precision == "int8" else "model.pt2" if runtime == "torch" else "model.onnx"


def test_broken_promises_and_the_exit_code_agree(deployed):
    code, told = deployed
    assert code == (1 if told["broken"] else 0)
    assert all("times as slow" in sentence for sentence in told["broken"])


def test_a_file_that_lost_more_than_is_allowed_is_exit_code_1(folder, deployed, monkeypatch, capsys):
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    raised = {**results, "rows": [{**row, "top1": row["top1"] + 5} for row in results["rows"]]}
    monkeypatch.setattr("experiments.lab.runs.record.read_results", lambda _: raised)
    monkeypatch.setattr(files, "write", lambda *_: None)  # the files of `deployed` are those that it would write again
    monkeypatch.setattr(measure, "probed", lambda *_: {"load_seconds": 0.1, "peak_memory": 1})
    shutil.copytree(folder / "deploy", folder / "again")
    words = "--runtimes onnxruntime --precisions int8 --batches 1 --networks svd --tolerance 1 --out"
    assert main([str(folder), *words.split(), str(folder / "again")]) == 1
    printed = capsys.readouterr().out
    assert "points below what the run measured" in printed
    assert "look at layer" in printed


def test_the_server_says_what_is_on_an_image(folder, deployed, tmp_path):
    def serve(side):
        Image.fromarray(np.full((side, side), 200, np.uint8)).save(tmp_path / "image.png")
        server = folder / "deploy" / "svd" / "serve.py"
        return subprocess.run([sys.executable, "-I", server, tmp_path / "image.png"], capture_output=True, text=True)

    done = serve(32)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] in [str(digit) for digit in range(10)]
    assert "image must be of 32 x 32 pixels" in serve(8).stderr


@pytest.mark.parametrize("width", [16, 19, 21])
def test_the_server_cuts_out_the_middle_that_the_network_was_judged_on(width, tmp_path):
    net, how = nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), Preprocessing((0.5,), (0.5,), resize=16, crop=8)
    with torch.no_grad():
        net[1].weight.copy_(torch.randn(2, 64, generator=torch.Generator().manual_seed(0)))
    pixels = np.random.default_rng(0).integers(0, 256, (16, width), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    facts = {"preprocessing": json.dumps(how.record()), "classes": json.dumps(["left", "right"])}
    export(net.eval(), torch.zeros(2, 1, 8, 8), tmp_path / "model.onnx", facts)
    (tmp_path / "serve.py").write_text(files.SERVER.read_text())
    command = [sys.executable, "-I", tmp_path / "serve.py", tmp_path / "image.png"]
    done = subprocess.run(command, capture_output=True, text=True)
    cut = v2.CenterCrop(8)(torch.from_numpy(pixels)[None]) / 255
    share, best = net((cut[None] - 0.5) / 0.5).softmax(1).max(1)
    assert done.stdout.strip() == f"{['left', 'right'][best]} ({share.item():.0%})", done.stderr


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, None),
        ({"top1": 88.5}, "1.50 points below"),
        ({"deviation": 0.2}, "scores differ from torch's by 20.0% of the largest"),
        ({"deviation": 0.2, "precision": "int8"}, None),
        ({"latency_1": 2.0, "latency_1_low": 1.5}, "2.00 times as slow as dense"),
        ({"latency_1": 2.0, "latency_1_low": 1.5, "latency_1_noisy": True}, None),
        ({"latency_1": 1.2, "latency_1_low": 1.0}, None),
    ],
)
def test_what_a_promise_is(changes, words):
    row = {**ROW, **changes}
    dense = {**DENSE, "precision": row["precision"]}
    found = promises.broken([dense, row], {"dense": 90.0, "svd": 90.0}, [1], 1.0)
    assert len(found) == (words is not None)
    assert words is None or words in found[0]


def test_the_layer_that_quantisation_hurts_is_named(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4))
    images = torch.rand(16, 3, 8, 8)
    with torch.no_grad():  # one input of the second convolution is a thousand times as large as the others
        net[0].weight[0] *= 1000
        net[2].weight[:, 0] /= 1000
    export(net.eval(), images[:2], tmp_path / "exact.onnx")
    export_int8(net.eval(), [images], tmp_path / "int8.onnx")
    found = blamed(tmp_path / "exact.onnx", tmp_path / "int8.onnx", images)
    assert found is not None
    assert found.layer == "'2'"


def test_a_plan_by_latency_promises_a_time_where_it_was_measured():
    promised = {"svd": promises.Time("torch", "32", 1, 0.5)}
    half = {"latency_1": 0.5, "latency_1_low": 0.45, "latency_1_high": 0.55}
    assert promises.late([DENSE, {**ROW, **half}], promised) == []
    assert promises.late([DENSE, {**ROW, **half, "latency_1_low": 0.49}], promised) == []  # quartiles leave a doubt
    (sentence,) = promises.late([DENSE, {**ROW, "latency_1": 0.8, "latency_1_low": 0.7}], promised)
    assert sentence.endswith("0.80 of dense's time there, 1 images at once, where its plan promised 0.5")
    elsewhere = [{**row, "runtime": "openvino"} for row in (DENSE, {**ROW, "latency_1_low": 0.7})]
    assert promises.late(elsewhere, promised) == []


def test_a_layer_that_a_runtime_computes_otherwise_is_named(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(1))
    net, images = nn.Sequential(*net, nn.Linear(128, 4)).eval(), torch.rand(16, 3, 8, 8)
    export(net, images[:2], tmp_path / "model.onnx")
    same = blamed_in_float(net, tmp_path / "model.onnx", Cell("onnxruntime", "32"), images)
    assert same is not None
    assert same.error < 1e-5
    model = onnx.load(tmp_path / "model.onnx")
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "3.weight")
    weight.CopyFrom(onnx.numpy_helper.from_array(1.1 * onnx.numpy_helper.to_array(weight), "3.weight"))
    onnx.save(model, tmp_path / "model.onnx")
    found = blamed_in_float(net, tmp_path / "model.onnx", Cell("onnxruntime", "32"), images)
    assert found is not None
    assert found.layer == "'3'"
    assert blamed_in_float(net, tmp_path / "model.onnx", Cell("torch", "32"), images) is None  # which runs another file


def test_what_the_plan_promised_stands_beside_what_the_files_do(folder, deployed):
    plan = Plan.load(folder / "svd" / "plan.json")
    (top1,) = (
        row["top1"] for row in json.loads((folder / "results.json").read_text())["rows"] if row["network"] == "svd"
    )
    share = f"{plan.after.macs / plan.before.macs:.3f}"
    table = (folder / "deploy" / "table.md").read_text(encoding="utf-8")
    assert f"| svd | MACs of dense | {share} | {share} |" in table
    assert f"| svd | top-1, % | {top1:.2f} | " in table
    assert re.search(r"\| svd \| rise of the loss \(plan: before a refit\) \| [+]0\.\d+ \| [+-]0\.\d+", table)
    assert planned.larger({"svd": plan}, {"svd": plan.after.macs / plan.before.macs}) == []
    (sentence,) = planned.larger({"svd": plan}, {"svd": 1.02 * plan.after.macs / plan.before.macs})
    assert sentence.endswith(f"where its plan promised {share}")


def test_a_file_whose_shapes_are_unknown_is_left_out_and_said(folder, deployed, monkeypatch, capsys):
    def unknown(file):
        raise ValueError("shapes of operator 'x' must be known")

    plans, folders = {"svd": Plan.load(folder / "svd" / "plan.json")}, {"svd": folder / "deploy" / "svd"}
    assert planned.file_shares(plans, folders)
    monkeypatch.setattr(planned, "file_macs", unknown)
    assert planned.file_shares(plans, folders) == {}
    assert "are not counted: shapes of operator 'x' must be known" in capsys.readouterr().err


def test_a_budget_of_latency_is_shown_where_it_was_promised(folder):
    time, plan = promises.Time("torch", "32", 1, 0.5), Plan.load(folder / "svd" / "plan.json")
    slow = {**ROW, "latency_1": 0.6, "loss": 0.5}
    rows = [{**DENSE, "loss": 0.4}, slow, {**DENSE, "loss": 0.4, "device": "cuda"}, {**slow, "device": "cuda"}]
    lines = planned.table({"svd": plan}, {}, rows, {"svd": 90.0}, {"svd": time}).rows
    assert ["svd", "time of dense, torch 32, 1 at once", "0.50", "0.60"] in lines
    assert len(lines) == 3
    assert planned.table({"svd": plan}, {}, rows[:1], {"svd": 90.0}, {}).rows == []  # it ran in no cell


def test_a_gpu_that_is_here_is_measured_too(monkeypatch):
    with pytest.raises(ValueError, match="devices must be cpu, where torch sees no GPU, got 'cuda'"):
        cells([], [], ["cuda"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [str(cell) for cell in cells(["torch", "onnxruntime"], ["32"])] == [
        "torch 32",
        "onnxruntime 32",
        "torch 32 cuda",
    ]
    monkeypatch.setattr("experiments.deploy.cells.on_cuda", lambda: True)
    assert Cell("onnxruntime", "32", "cuda") in cells([], [])
    assert Cell("torch", "bf16", "cuda") in cells([], ["bf16"])
    assert not [cell for cell in cells([], []) if cell.device == "cuda" and cell.precision == "int8"]


def test_a_program_goes_whole_to_its_device(tmp_path):
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 2)

        def forward(self, x):
            return self.linear(x) + torch.arange(2.0, device=x.device)

    export(Shifted(), torch.ones(2, 4), tmp_path / "model.pt2")
    program = Cell("torch", "32", "meta").start(tmp_path, 1)
    assert program(torch.ones(3, 4, device="meta")).device.type == "meta"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["nowhere"], "run must be a run folder"),
        (["RUN", "--networks", "cp"], "networks must be of the run: dense, svd, got 'cp'"),
        (["RUN", "--threads", "0"], "threads must be at least 1"),
        (["RUN", "--batches", "1", "1"], "each given once"),
        (["RUN", "--runtimes", "onnxruntime", "--precisions", "bf16"], "runtimes and precisions must be a pair"),
        (["RUN", "--out", "FILE"], "out must be a folder, not a file"),
        (["RUN", "--out", "OTHERS"], "out must be a folder that is new, empty, or was written by deploy"),
    ],
)
def test_refusals(words, sentence, folder, tmp_path, capsys):
    (tmp_path / "file").touch()
    places = {"RUN": folder, "FILE": tmp_path / "file", "OTHERS": tmp_path}
    given = [str(places.get(word, word)) for word in words]
    assert main(given) == 2
    assert sentence in " ".join(capsys.readouterr().err.split())


def test_a_runtime_that_is_not_here_is_refused_with_what_to_install(monkeypatch):
    monkeypatch.setattr("layers.checkpoint.serving.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install -e '\.\[openvino\]'"):
        cells(["openvino"], [])
