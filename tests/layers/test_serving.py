"""`Serving`: each runtime and precision runs what the network computes, layers and networks are timed there."""

import itertools
import time
from importlib.util import find_spec

import onnx
import onnxruntime
import pytest
import torch
from clocks import ModuleClock
from torch import nn

from experiments.lab.steps.language import parse, written
from layers import Budget, OnnxNetwork, Serving, compress, cost, make_plan
from layers.checkpoint import serving as place
from layers.checkpoint.small_graphs import can_write, layer_graph
from layers.costs import trace
from layers.factored import Form
from layers.planning.errors import evenly
from layers.planning.multiples import MEASURED, timed_forms
from layers.planning.prices import LatencyTable, cache_file

CELLS = [(runtime, precision) for runtime, has in place.HAS.items() for precision in has]
TICK = 1e-4
there = pytest.mark.skipif(find_spec("openvino") is None, reason="no openvino: pip install -e '.[openvino]'")
FAST = [
    pytest.param(*cell, marks=there if cell[0] == "openvino" else ()) for cell in CELLS if cell[0] != "torch-compile"
]


def ticking():
    """A clock by which everything takes a tick."""
    ticks = itertools.count()
    return lambda: TICK * next(ticks)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(256, 5)
    return nn.Sequential(*layers).eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("runtime", "precision"), FAST)
@pytest.mark.parametrize("folded", [False, True])
def test_what_is_timed_answers_as_the_network_does(model, images, runtime, precision, folded):
    serving = Serving(runtime, precision, threads=1, fold_batchnorm=folded, images=[images])
    with torch.no_grad(), serving.running():
        wanted, got = model(images), serving.network(model, images)()
    loose = {"32": 1e-5, "bf16": 0.03, "int8": 0.05}[precision]
    assert float((got - wanted).norm() / wanted.norm()) < loose
    assert got.dtype == torch.float32


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["32", "bf16"])
def test_compiled_networks_answer_as_well(model, images, precision):
    serving = Serving("torch-compile", precision, threads=1)
    with torch.no_grad(), serving.running():
        wanted, got = model(images), serving.network(model, images)()
        assert float((got - wanted).norm() / wanted.norm()) < {"32": 1e-5, "bf16": 0.03}[precision]
        layer = serving.layer(model[3], torch.randn(8, 16, 6, 6))
        assert layer().shape == (8, 16, 4, 4)


PARTS = [
    nn.Conv2d(4, 6, (3, 5), (2, 1), (1, 2), (1, 2)),
    nn.Conv2d(4, 6, (3, 5), padding="same", dilation=(2, 1)),
    nn.Conv2d(4, 8, 3, groups=2, bias=False),
    nn.Sequential(nn.Conv2d(4, 3, (3, 1), bias=False), nn.Conv2d(3, 6, (1, 3))),
    nn.ConvTranspose2d(4, 6, 3, 2, 1, 1, groups=2),
]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("int8", [False, True])
def test_a_layer_s_file_computes_what_the_layer_would(part, int8):
    """In float32 the numbers themselves, by weights that are read from the file; in 8 bits the shape."""
    torch.manual_seed(0)
    x = torch.randn(2, 4, 12, 9)
    file = layer_graph(part, x.shape, int8)
    got = OnnxNetwork(file)(x)
    if not int8:
        stored = [onnx.numpy_helper.to_array(t) for t in onnx.load_from_string(file).graph.initializer]
        weights, parts = [w for w in stored if w.ndim == 4], [*part] if isinstance(part, nn.Sequential) else [part]
        for layer, weight in zip(parts, weights):
            layer.weight.data = torch.from_numpy(weight.copy())
            if layer.bias is not None:
                layer.bias.data.zero_()
    with torch.no_grad():
        wanted = part(x).relu()
    assert got.shape == wanted.shape
    assert int8 or torch.allclose(got, wanted, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 10), (3, 7, 10)])
@pytest.mark.parametrize("int8", [False, True])
def test_a_matrix_of_any_axes_has_a_file(shape, int8):
    file = layer_graph(nn.Sequential(nn.Linear(10, 4, bias=False), nn.Linear(4, 6)), shape, int8)
    assert OnnxNetwork(file)(torch.randn(shape)).shape == (*shape[:-1], 6)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Sequential(nn.Conv2d(16, 8, (3, 1)), nn.Conv2d(8, 16, (1, 3))), (1, 16, 8, 8)),
        (nn.Sequential(nn.Linear(16, 8), nn.Linear(8, 16)), (1, 16)),
        (nn.Linear(16, 8), (2, 3, 16)),
    ],
)
def test_products_of_8_bits_are_computed_in_integers(module, shape, tmp_path):
    """onnxruntime's optimised graph has no product in floating point left."""
    options, path = onnxruntime.SessionOptions(), tmp_path / "optimised.onnx"
    options.optimized_model_filepath, options.log_severity_level = str(path), 3
    onnxruntime.InferenceSession(layer_graph(module, shape, True), options, providers=["CPUExecutionProvider"])
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert kinds & {"QLinearConv", "QGemm", "QLinearMatMul"}
    assert not kinds & {"Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul"}


def test_what_pads_with_more_than_zeros_is_exported():
    module, x = nn.Conv2d(4, 4, 3, padding=1, padding_mode="circular"), torch.randn(2, 4, 6, 6)
    assert not can_write(module)
    assert Serving("onnxruntime", threads=1).layer(module, x)().shape == x.shape


def test_the_faster_layout_is_chosen(model, images, monkeypatch):
    taken = {"True": 1.0, "False": 2.0}
    monkeypatch.setattr(place, "interleaved", lambda runs, _: {k: type("T", (), {"median": taken[k]}) for k in runs})
    assert Serving(threads=1).settled(model, images).channels_last is True
    taken["False"] = 0.5
    assert Serving(threads=1).settled(model, images).channels_last is False
    assert Serving("onnxruntime", threads=1).settled(model, images).channels_last is None


@pytest.mark.parametrize("selector", ["energy", "threshold"])
def test_ranks_go_to_the_multiples_that_are_fast(tmp_path, selector):
    """Multiples near the evenly spaced ranks are timed as well, with errors between those of the kernel's own forms."""

    def blocks(layer, forms, calls):
        def wide(form):
            rank = form.spec.get("rank", 0)
            return float(64 * 3 if form.kernel is None else 4 * (-(-rank // 16) * 16) + 0.01 * rank)

        return [wide(form) for form in forms]

    torch.manual_seed(0)
    layer, x = nn.Conv2d(60, 60, 3, padding=1), torch.randn(1, 60, 10, 10)
    own = [Form("svd", {"rank": rank}, error=1 / rank) for rank in range(1, 61)]
    if selector == "threshold":
        own = [form._replace(error=float("nan"), level=form.spec["rank"] / 60) for form in own]

    def costed(form):
        return form._replace(cost=cost(nn.Conv2d(60, form.spec["rank"], 3), x))

    found = timed_forms(blocks, layer, [*map(costed, own), Form(None, {})], trace(layer, x).calls[""], costed)
    ranks = {form.spec["rank"] for form in found[:-1]}
    assert 32 in ranks
    assert 32 not in {form.spec["rank"] for form in evenly(own, MEASURED)}
    by_rank = {form.spec["rank"]: form for form in found[:-1]}
    if selector == "energy":
        assert all(form.error == pytest.approx(1 / rank, rel=0.02) for rank, form in by_rank.items())


def test_a_layer_of_which_no_form_is_faster_stays_dense(tmp_path):
    """On a clock for which factors take as long as they have weights, and the second layer has few to lose."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(32, 32, 3), nn.Conv2d(32, 1, 1)).eval(), torch.randn(1, 32, 8, 8)
    with ModuleClock().running() as clock:
        where = {"example": x, "latencies": tmp_path / "latency.json", "clock": clock}
        plan = make_plan(model, Budget(latency=0.5), ("svd", "spatial"), **where)
    assert plan.layers[0].kernel
    assert plan.layers[1].kernel is None
    assert plan.layers[1].reason.endswith("no form has a lower latency")


@pytest.mark.parametrize(("runtime", "precision"), [("onnxruntime", "32"), ("onnxruntime", "int8"), ("torch", "bf16")])
def test_a_plan_is_made_there(model, images, tmp_path, runtime, precision):
    serving = Serving(runtime, precision, threads=1, images=[images])
    file = tmp_path / "latency.json"
    where = {"example": images, "latencies": file, "serving": serving, "clock": ticking()}
    plan = make_plan(model, Budget(latency=1.0), ("svd",), **where)
    assert f"{runtime} " in file.read_text()
    assert f" {precision} 1 threads" in file.read_text()
    assert compress(model, plan)(images).shape == (8, 5)
    assert plan.seconds == pytest.approx((TICK, TICK))


def test_a_step_is_planned_there_from_calibration_images_alone(model, images, tmp_path, monkeypatch):
    (step,) = parse("svd latency=1.0 selector=energy runtime=onnxruntime precision=int8 threads=1")
    assert written(step) == "svd latency=1.0 selector=energy runtime=onnxruntime precision=int8 threads=1"
    assert step.images
    assert not step.moments
    assert step.said(5)[-1] == "latency measured in onnxruntime int8, 1 thread"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", ticking())
        assert step.plan(model, images, None).seconds == pytest.approx((TICK, TICK))
    assert "onnxruntime" in cache_file().read_text()


def test_serving_says_what_it_lacks(images, monkeypatch):
    with pytest.raises(
        ValueError, match="runtime must be one of torch, torch-compile, onnxruntime, openvino, got 'trt'"
    ):
        Serving("trt")
    with pytest.raises(
        ValueError, match=r"precision in onnxruntime must be one of its own: torch 32, bf16; .* got 'bf16'"
    ):
        Serving("onnxruntime", "bf16")
    with pytest.raises(ValueError, match=r"images of int8 must be calibration images, one at least: .*, got 'none'"):
        Serving("onnxruntime", "int8")
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        Serving(threads=0)
    monkeypatch.setattr(place, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"runtime must be one that is here: pip install -e '.\[openvino\]', got 'openvino'"
    ):
        Serving("openvino")
    monkeypatch.setattr(place, "has_bf16", lambda: False)
    with pytest.raises(ValueError, match="precision must be 32 or int8 on a CPU without bf16, got 'bf16'"):
        Serving("torch", "bf16")
    with pytest.raises(ValueError, match="serving must be left out but with a latency budget"):
        make_plan(nn.Linear(9, 9), Budget(macs=0.5), example=torch.ones(1, 9), serving=Serving())


def test_later_times_are_scaled_by_the_dense_layer_s(tmp_path):
    torch.manual_seed(0)
    layer, x = nn.Conv2d(4, 6, 3), torch.zeros(2, 4, 8, 8)
    once, few, more = trace(layer, x).calls[""], [Form("svd", {"rank": 1}), Form(None, {})], Form("svd", {"rank": 2})
    with ModuleClock().running() as clock:
        table = LatencyTable(tmp_path / "latency.json", clock)
        first, dense = table(layer, few, once)
        table.known = {key: 3 * seconds for key, seconds in table.known.items()}  # of a time when all was slower
        second = table(layer, [*few[:1], more, few[1]], once)
    assert second == pytest.approx([3 * first, 3 * 1e-6 * 90, 3 * dense])
