"""What `save` writes runs where this project is not, and both loaders refuse bad files and execute nothing."""

import ast
import copy
import functools
import json
import os
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from loaders import loader
from safetensors.torch import load_file, save_file
from torch import nn

import layers
from layers import METHODS, Budget, Cost, Plan, compress, make_plan, save
from layers.planning import LayerPlan

X = torch.linspace(-1, 1, 2 * 3 * 12 * 12).reshape(2, 3, 12, 12)
OURS = ["layers", "stage1_scipy", "stage2_numpy", "stage3_torch", "contract", "checks", "trees", "experiments"]
MODEL = """
from torch import nn

def network():
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding="same", padding_mode="circular"), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 16, (3, 5), stride=(2, 1), padding=(1, 2), dilation=(1, 1), groups=2, bias=False), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )
"""
exec(MODEL)  # the text is run in the other process too


@functools.cache  # what a test changes is what was saved
def make(kernel):
    torch.manual_seed(0)
    model = network().eval()  # noqa: F821  # defined by MODEL
    plan = make_plan(model, Budget(params=0.7), (kernel, "svd"), example=X)
    return model, plan, compress(model, plan)


@pytest.fixture(scope="module", params=METHODS)
def saved(request, tmp_path_factory):
    """(kernel, dense, compressed, folder)."""
    model, plan, small = make(request.param)
    folder = tmp_path_factory.mktemp(request.param) / "small"
    save(small, plan, folder, example=X[:1])
    return request.param, model, small, folder


def test_the_loader_needs_torch_and_safetensors_only(saved):
    tree = ast.parse((saved[3] / "loader.py").read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level]
    third = {name.split(".")[0] for name in names} - sys.stdlib_module_names
    assert third == {"torch", "safetensors", "brotli"}
    first = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    assert "brotli" not in first  # asked for by a file that is compressed, and by no other
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
    called = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not called & {"eval", "exec", "__import__", "open", "compile"}


def test_the_loader_gives_the_same_network(saved):
    _, model, small, folder = saved
    before = copy.deepcopy(model.state_dict())
    loaded = loader(folder)(folder, model)
    with torch.no_grad():
        assert torch.equal(loaded(X), small(X))
    assert not loaded.training
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))


ELSEWHERE = """
import json, sys, runpy
sys.dont_write_bytecode = True
import torch
x = torch.linspace(-1, 1, 2 * 3 * 12 * 12).reshape(2, 3, 12, 12)
found = {}
for kernel, folder in FOLDERS.items():
    loader = runpy.run_path(folder + "/loader.py")
    with torch.no_grad():
        y = loader["load"](folder, network().eval())(x)
        z = torch.export.load(folder + "/program.pt2").module()(x)
    found[kernel] = [y.tolist(), z.tolist()]
assert not set(OURS) & set(sys.modules), sorted(sys.modules)
print(json.dumps(found))
"""


def test_it_runs_in_a_process_without_this_project(tmp_path):
    folders = {kernel: str(tmp_path / kernel) for kernel in ("tucker", "dct")}  # layers in a row, a weight to decode
    for kernel, folder in folders.items():
        _, plan, small = make(kernel)
        save(small, plan, folder, example=X[:1])
    (tmp_path / "elsewhere").mkdir()
    script = f"OURS, FOLDERS = {OURS!r}, {folders!r}\n{MODEL}{ELSEWHERE}"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [sys.executable, "-I", "-c", script],
        cwd=tmp_path / "elsewhere",
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    for kernel, answers in json.loads(done.stdout.splitlines()[-1]).items():
        with torch.no_grad():
            want = make(kernel)[2](X)
        for got in answers:
            assert torch.allclose(torch.tensor(got), want, atol=1e-5)  # another number of threads sums otherwise


SPECS = {
    "dct": ("dct", {}),
    "dst, lowest": ("dst", {"select": "lowest"}),
    "dht, ordered": ("dht", {"order": True}),
    "shannon": ("shannon", {}),
    "shannon, lowest, ordered": ("shannon", {"select": "lowest", "order": True}),
    "dwt": ("dwt", {"wavelet": "haar"}),
    "dwt, 2 levels": ("dwt", {"wavelet": "db4", "levels": 2, "order": True}),
    "dwt, lowest": ("dwt", {"wavelet": "coif3", "select": "lowest"}),
    "dct along the inputs": ("dct", {"axes": [1], "select": "lowest"}),
    "dst along the outputs": ("dst", {"axes": [0], "order": True}),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("which", SPECS)
def test_every_weight_comes_back_bit_for_bit_whatever_the_spec_and_length(which, dtype, tmp_path):
    torch.manual_seed(0)
    kernel, spec = SPECS[which]
    model = nn.Sequential(nn.Linear(301, 260), nn.Linear(260, 9), nn.Conv2d(9, 12, (3, 5))).to(dtype)
    rows = []
    for name, module in model.named_children():
        count = {"keep": module.weight.numel() // 3, "axes": [0, 1]} | spec
        rows.append(LayerPlan(name, kernel, count, Cost(0, 0, 0), Cost(0, 0, 0), 0.0))
    plan = Plan(tuple(rows), Budget(params=0.5), "uniform", Cost(0, 0, 0), Cost(0, 0, 0))
    small = compress(model, plan)  # in training mode, whose own decoding is the fast one
    save(small, plan, tmp_path / "small")
    found, ours = loader(tmp_path / "small")(tmp_path / "small", model), layers.load(tmp_path / "small", model)
    small.eval()
    ours.eval()
    for name in ("0", "1", "2"):
        weight = small.get_submodule(name).weight
        assert torch.equal(found.get_submodule(name).weight, weight)
        assert torch.equal(ours.get_submodule(name).weight, weight)
    assert Plan.load(tmp_path / "small" / "plan.json").layers == plan.layers
    # the tables: a few kilobytes for the longest filter, whatever the size of the layer
    assert (tmp_path / "small" / "plan.json").stat().st_size < 20_000


def test_the_program_takes_any_batch(saved):
    _, _, small, folder = saved
    program = torch.export.load(folder / "program.pt2").module()
    x = torch.cat([X, X, X])
    with torch.no_grad():
        assert torch.allclose(program(x), small(x), atol=1e-5)


def test_shared_and_root_layers_come_back(tmp_path):
    torch.manual_seed(0)
    layer = nn.Linear(30, 30)
    for number, make_model in enumerate([lambda: nn.Sequential(copy.deepcopy(layer)), lambda: copy.deepcopy(layer)]):
        model, x = make_model(), torch.ones(1, 30)
        if number == 0:
            model.append(model[0])  # the same layer twice
        plan = make_plan(model, Budget(macs=0.5), ("svd",), example=x)
        small = compress(model, plan)
        save(small, plan, tmp_path / str(number))
        for load in (layers.load, loader(tmp_path / str(number))):
            got = load(tmp_path / str(number), model)
            assert torch.equal(got(x), small(x))
            assert isinstance(got if number else got[0], nn.Sequential)
            assert number or got[0] is got[1]


MARK = "executed"


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def tensors(folder, change):
    path = folder / "model.safetensors"
    found = load_file(path)
    change(found)
    save_file(found, path)


def plan(folder, change):
    path = folder / "plan.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def rename(data, name):
    """The first compressed layer under another name, in both places that hold names."""
    row = next(row for row in data["layers"] if row["kernel"])
    data["modules"]["layers"][f"{name}."] = data["modules"]["layers"].pop(f"{row['name']}.")
    row["name"] = name


def first(data):
    """The prefix of the first factored layer."""
    return next(iter(data["modules"]["layers"]))


def header(path, text):
    """A safetensors file whose header says this."""
    body = json.dumps(text).encode()
    path.write_bytes(struct.pack("<Q", len(body)) + body + b"\0" * 16)


LIE = {"3.0.weight": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 16]}}
BAD = {  # how the files are damaged
    "a pickle": lambda f: (f / "model.safetensors").write_bytes(pickle.dumps(Bomb(f.parent / MARK))),
    "a pickled plan": lambda f: (f / "plan.json").write_bytes(pickle.dumps(Bomb(f.parent / MARK))),
    "truncated": lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-20]),
    "truncated plan": lambda f: (f / "plan.json").write_text((f / "plan.json").read_text()[:-20]),
    "no tensors": lambda f: (f / "model.safetensors").unlink(),
    "no plan": lambda f: (f / "plan.json").unlink(),
    "header lie": lambda f: header(f / "model.safetensors", LIE),
    "header too long": lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 64),
    "shape lie": lambda f: tensors(f, lambda t: t.update({"3.0.weight": torch.zeros(5, 5)})),
    "missing": lambda f: tensors(f, lambda t: t.pop("3.0.weight")),
    "missing elsewhere": lambda f: tensors(f, lambda t: t.pop("1.weight")),
    "too many": lambda f: tensors(f, lambda t: t.update(extra=torch.zeros(1))),
    "a path": lambda f: plan(f, lambda d: rename(d, "../../x")),
    "an absolute path": lambda f: plan(f, lambda d: rename(d, "/etc/passwd")),
    "no layer": lambda f: plan(f, lambda d: rename(d, "__class__")),
    "deep": lambda f: (f / "plan.json").write_text("[" * 100_000),
}
LOADER_ONLY = {  # damage of what `layers.load` does not read
    "a class": lambda f: plan(f, lambda d: d["modules"]["layers"][first(d)][0].__setitem__(0, "Embedding")),
    "a function": lambda f: plan(f, lambda d: d["modules"]["layers"][first(d)][0].__setitem__(0, "os.system")),
    "an argument": lambda f: plan(f, lambda d: d["modules"]["layers"][first(d)][0][1].update(device="cpu")),
    "a size": lambda f: plan(f, lambda d: d["modules"]["layers"][first(d)][0][1].update(out_channels=1 << 40)),
    "no modules": lambda f: plan(f, lambda d: d.pop("modules")),
}


@pytest.mark.parametrize("which", ["ours", "written"])
@pytest.mark.parametrize("damage", [*BAD, *LOADER_ONLY])
def test_bad_files_give_one_error_and_execute_nothing(tmp_path, which, damage):
    model, plan, small = make("tucker")
    folder: Path = tmp_path / "small"
    save(small, plan, folder)
    load = layers.load if which == "ours" else loader(folder)
    {**BAD, **LOADER_ONLY}[damage](folder)
    before = copy.deepcopy(model.state_dict())
    if which == "ours" and damage in LOADER_ONLY:
        with torch.no_grad():
            assert torch.equal(load(folder, model)(X), small(X))
        return
    with pytest.raises(ValueError, match=r"must (be|hold) .*got"):
        load(folder, model)
    assert not (tmp_path / MARK).exists()
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))


LIES = {  # what a hostile plan.json may say of a code: (its part, the lie)
    "another transform": ("transform", "svd"),
    "an attribute": ("transform", "__class__"),
    "a larger weight": ("shape", [1 << 20, 1 << 14]),
    "a weight that is not there": ("shape", [1 << 60]),
    "no weight": ("shape", [0, 3, 3, 3]),
    "another shape": ("shape", [3]),
    "half a shape": ("shape", [1.5, 2]),
    "no axis": ("axes", [7]),
    "an axis twice": ("axes", [2, 2]),
    "a text for axes": ("axes", "23"),
    "another tensor": ("tensors", {"values": "0.bias"}),
    "no tensor": ("tensors", {"values": "nowhere"}),
    "no positions": ("tensors", {"values": "0.parametrizations.weight.original0"}),
    "no table": ("tables", [[99], [99]]),
    "other levels": ("levels", "all"),
}


@pytest.mark.parametrize("part", LIES)
def test_lies_about_a_code_give_one_error(part, tmp_path):
    model, made, small = make("dwt" if part == "other levels" else "dct")
    save(small, made, tmp_path / "small")
    key, lie = LIES[part]

    def change(data):
        code = next(code for name, code in data["modules"]["codes"].items() if name != "7.weight")
        code[key] = lie

    plan(tmp_path / "small", change)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=r"must hold what `save` wrote of this network, got"):
        loader(tmp_path / "small")(tmp_path / "small", model)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))


CODES = {
    "mask": (torch.tensor([255] * 5, dtype=torch.uint8), "ones in the mask must be 9, the values kept, got 36"),
    "order_0": (torch.zeros(6, dtype=torch.int16), "order must be each place once"),
}


@pytest.mark.parametrize("buffer", CODES)
def test_codes_that_contradict_themselves_are_refused(buffer, tmp_path):
    bad, sentence = CODES[buffer]
    model = nn.Sequential(nn.Linear(6, 6))
    row = LayerPlan("0", "dct", {"keep": 9, "axes": [0, 1], "order": True}, Cost(0, 0, 0), Cost(0, 0, 0), 0.0)
    made = Plan((row,), Budget(params=0.5), "uniform", Cost(0, 0, 0), Cost(0, 0, 0))
    save(compress(model, made), made, tmp_path / "small")
    tensors(tmp_path / "small", lambda t: t.update({f"0.transform.{buffer}": bad}))
    with pytest.raises(ValueError, match=sentence):
        layers.load(tmp_path / "small", model)


def test_plan_and_modules_live_in_one_file(saved):
    _, _, _, folder = saved
    assert Plan.load(folder / "plan.json").layers
    assert (folder / "plan.json").stat().st_size < 10_000
