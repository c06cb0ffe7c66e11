"""`export`: the ONNX file and the torch.export program compute what the module does, for any batch size."""

import copy
from math import inf
from pathlib import Path

import onnxruntime
import pytest
import torch
import torchvision
from torch import nn

from layers import METHODS, Budget, FrequencyLinear, TransformLinear, compress, export, make_plan, replace

FACTORED = ("svd", "spatial", "tucker", "cp", "cp4", "ht")
CODED = tuple(name for name in METHODS if name not in FACTORED)
X = torch.linspace(-1, 1, 2 * 3 * 12 * 12).reshape(2, 3, 12, 12)


def run(path, x):
    """What another runtime makes of it."""
    if path.suffix == ".pt2":
        with torch.no_grad():
            return torch.export.load(path).module()(x)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (name,) = (entry.name for entry in session.get_inputs())
    return torch.from_numpy(session.run(None, {name: x.numpy()})[0])


def check(small, path, x):
    """Equal to 1e-4 of the largest output, at the batch size of the example and at another one."""
    export(small, x, path)
    for batch in (x, torch.cat([x, x.flip(0) / 2, x[:1]])):
        with torch.no_grad():
            want = copy.deepcopy(small).eval()(batch)
        got = run(path, batch)
        assert got.shape == want.shape
        assert (got - want).abs().max() <= 1e-4 * want.abs().max()
    assert [found.name for found in path.parent.iterdir()] == [path.name]


def network():
    return nn.Sequential(
        nn.Conv2d(3, 12, 3, padding="same", padding_mode="circular"),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 16, (3, 5), stride=(2, 1), padding=(1, 2), groups=2, bias=False),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(16, 10),
    )


PT2 = [pytest.param(kernel, ".pt2", marks=pytest.mark.slow) for kernel in FACTORED if kernel != "svd"]


@pytest.mark.parametrize(  # all coded layers fold to the same; a file of .onnx is made of the program that .pt2 stores
    ("kernel", "suffix"), [*((k, ".onnx") for k in (*FACTORED, "dct")), ("svd", ".pt2"), ("dct", ".pt2"), *PT2]
)
def test_every_kernel(kernel, suffix, tmp_path):
    torch.manual_seed(0)
    model = network()  # in training mode, where BatchNorm and Dropout compute something else
    plan = make_plan(model, Budget(params=0.8), (kernel,), example=X)
    assert any(row.kernel for row in plan.layers)
    small = compress(model, plan)
    modules, modes = dict(small.named_modules()), [module.training for module in small.modules()]
    before = copy.deepcopy(small.state_dict())
    check(small, tmp_path / f"small{suffix}", X)
    assert dict(small.named_modules()) == modules
    assert [module.training for module in small.modules()] == modes
    assert all(torch.equal(a, b) for a, b in zip(before.values(), small.state_dict().values()))


class Reshaping(nn.Module):
    """Works for a batch of two only."""

    def forward(self, x):
        return x.reshape(2, -1)


REFUSED = {
    "suffix": (network, "small.pt", r"path must be a file name that ends in .onnx or .pt2, got '.*small.pt'"),
    "batch": (Reshaping, "small.onnx", "Reshaping must be a network that torch.export can trace for any batch size"),
    "complex": (lambda: FrequencyLinear(12, 4, kernel="dft"), "small.pt2", "kernel must be real"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refusals_leave_nothing_behind(reason, tmp_path):
    make, name, sentence = REFUSED[reason]
    with pytest.raises(ValueError, match=sentence):
        export(make(), X, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_failed_export_keeps_the_file_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "small.pt2"
    export(network(), X, path)
    before = path.read_bytes()

    def fail(program, where, **_):
        Path(where).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch.export, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        export(network(), X, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


SIZES = {"alexnet": 64, "vgg16": 32, "resnet18": 64, "densenet121": 64}  # pixels; each pools to at least one
LARGEST = 5_000_000  # weights: a decomposition of more takes minutes, and is done once


def half(kernel, layer):
    """A spec of about half the ranks; chosen here, since candidates reach up to full rank, slow for CP."""
    size = layer.weight.shape
    rank = max(1, min(size[:2]) // 2)
    specs = {
        "tucker": {"ranks": [max(1, n // 2) for n in size[:2]]},
        "ht": {"ranks": [rank, rank, rank], "tree": [[1, 2], [3, 0]]},
        **{name: {"rank": rank} for name in ("svd", "spatial", "cp", "cp4")},
    }
    coded = {"keep": layer.weight.numel() // 2, "axes": list(range(len(size)))}
    return specs.get(kernel, coded | ({"wavelet": "haar"} if kernel == "dwt" else {}))


def compressed(model, kernel, largest=LARGEST):
    """Every layer of at most so many weights: by the kernel if it takes it, else by svd."""

    def rule(name, module):
        if not isinstance(module, nn.Conv2d | nn.Linear) or module.weight.numel() > largest:
            return None
        chosen = kernel if METHODS[kernel].refusal(module) is None else "svd"
        return METHODS[chosen].build(module, half(chosen, module))

    return replace(model, rule)


def check_both(small, name, folder):
    """As ONNX and as a program of torch.export."""
    for number, suffix in enumerate((".onnx", ".pt2")):
        (folder / str(number)).mkdir()
        check(small, folder / str(number) / f"{name}{suffix}", torch.randn(2, 3, SIZES[name], SIZES[name]))


@pytest.mark.slow
@pytest.mark.parametrize("kernel", METHODS)
@pytest.mark.parametrize("name", SIZES)
def test_every_kernel_over_whole_networks(name, kernel, tmp_path):
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None).eval()
    small = compressed(model, kernel)
    assert kernel in FACTORED or any(isinstance(module, TransformLinear) for module in small.modules())
    check_both(small, name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "vgg16"])
def test_large_classifiers_as_well(name, tmp_path):
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None).eval()
    large = [n for n, m in model.named_modules() if isinstance(m, nn.Linear) and m.weight.numel() > LARGEST]
    small = compressed(model, "svd", largest=inf)
    assert large
    assert all(isinstance(small.get_submodule(name), nn.Sequential) for name in large)
    check_both(small, name, tmp_path)


class Last(nn.Module):
    """A convolution and then a layer or a function."""

    def __init__(self, last):
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 8, 3, padding=1), last

    def forward(self, x):
        return self.last(self.conv(x))


def test_the_ends_and_the_batch_axis_of_onnx_have_names_and_the_file_keeps_texts(tmp_path):
    facts = {"preprocessing": '{"mean": [0.5]}', "license": "MIT"}
    export(network(), X, tmp_path / "a.onnx", facts)
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    assert [(end.name, end.shape) for end in session.get_inputs()] == [("images", ["batch", 3, 12, 12])]
    assert [(end.name, end.shape) for end in session.get_outputs()] == [("logits", ["batch", 10])]
    assert session.get_modelmeta().custom_metadata_map == facts
    export(network(), X, tmp_path / "a.pt2", facts)
    kept = dict.fromkeys(facts, "")
    torch.export.load(tmp_path / "a.pt2", extra_files=kept)
    assert kept == facts


def test_several_outputs_are_numbered_and_sizes_made_of_the_batch_name_it(tmp_path):
    model = Last(lambda y: (y.mean((2, 3)), {"all": y.flatten(0, 1)})).eval()
    export(model, X, tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "a.onnx", providers=["CPUExecutionProvider"])
    ends = [(end.name, end.shape) for end in session.get_outputs()]
    assert ends == [("logits_0", ["batch", 8]), ("logits_1", ["8*batch", 12, 12])]
    assert [y.shape for y in session.run(None, {"images": torch.cat([X, X, X]).numpy()})] == [(6, 8), (48, 12, 12)]


NO_OPERATOR = {
    "a layer": (nn.AdaptiveMaxPool2d(5), r"aten.adaptive_max_pool2d in layer 'last' \(AdaptiveMaxPool2d\)"),
    "deep down": (
        nn.Sequential(nn.ReLU(), nn.AdaptiveMaxPool2d(5)),
        r"aten.adaptive_max_pool2d in layer 'last.1' \(Ada",
    ),
    "a function": (torch.linalg.svdvals, "aten._linalg_svd"),
    "another": (lambda y: y.cummax(1).values, "aten.cummax"),
}


@pytest.mark.parametrize("which", NO_OPERATOR)
def test_an_operator_that_onnx_has_not_is_named_with_its_layer(which, tmp_path):
    last, words = NO_OPERATOR[which]
    with pytest.raises(ValueError, match=f"Last must be a network that ONNX has operators for, got {words}") as error:
        export(Last(last).eval(), X, tmp_path / "a.onnx")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_metadata_are_texts(tmp_path):
    with pytest.raises(ValueError, match="metadata must be texts by names that are texts, got"):
        export(network(), X, tmp_path / "a.onnx", {"mean": 0.5})
