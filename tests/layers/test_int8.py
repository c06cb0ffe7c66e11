"""`export_int8`: every product in 8 bits, close to the network, in a file that runs without this project."""

import copy
import json
import subprocess
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn
from torch.nn.functional import conv2d

from layers import Budget, compress, cost, export, make_plan, on_grid
from layers.checkpoint import OnnxNetwork, check_int8, export_int8
from layers.checkpoint.int8 import METHODS, compensated_network, quantise, ranges, rounding
from layers.checkpoint.int8.graph import PRODUCTS, activation_bytes, check_operators, check_quantised, layers_of
from layers.costs import FileCost, file_cost, peak_memory
from layers.thinning import steps

torch.manual_seed(0)
X = torch.randn(40, 3, 8, 8)
OPERATORS = ["Conv", "Gemm"]


def network():
    """Convolutions with BatchNorm of numbers that are not its usual ones, a residual, depthwise, Linear."""
    torch.manual_seed(1)
    model = Residual().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.normal_(module.running_mean)
    return model


NAMES = ["first.0", "depthwise", "pointwise", "last"]


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pointwise = nn.Conv2d(8, 8, 1)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Linear(8 * 16, 5)

    def forward(self, x):
        y = self.first(x)
        y = torch.relu(y + self.norm(self.pointwise(torch.relu(self.depthwise(y)))))
        return self.last(nn.functional.max_pool2d(y, 2).flatten(1))


def products(path):
    graph = onnx.load(path).graph
    return graph, [node for node in graph.node if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul")]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One for each method; networks of the same numbers, as every method is given, become one graph of floats."""
    folder, graphs, made = tmp_path_factory.mktemp("int8"), {}, quantise.float_graph

    def once(small, x):
        numbers = b"".join(tensor.numpy().tobytes() for tensor in small.state_dict().values())
        if numbers not in graphs:
            graphs[numbers] = made(small, x)
        return copy.deepcopy(graphs[numbers])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantise, "float_graph", once)
        for method in METHODS:
            export_int8(network(), X.split(16), folder / f"{method}.onnx", method, {"mean": "0.5"})
    assert len(graphs) == 2  # of the network, and of its copy with compensated weights
    return folder


@pytest.fixture(scope="module")
def floats():
    return quantise.float_graph(network(), X)


@pytest.mark.parametrize("method", METHODS)
def test_answers_are_those_of_the_network(method, files):
    with torch.no_grad():
        want = network()(X)
    for batch in (1, 40):  # any batch size
        error = OnnxNetwork(files / f"{method}.onnx")(X[:batch]) - want[:batch]
        assert error.norm() < 0.03 * want[:batch].norm()


def test_every_product_is_of_8_bits_with_a_scale_for_each_channel(files):
    graph, found = products(files / "minmax.onnx")
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    source = {node.output[0]: node for node in graph.node}
    assert [node.name for node in found] == NAMES
    assert not [node for node in graph.node if node.op_type == "BatchNormalization"]  # folded before
    for node in found:
        weight = source[node.input[1]]
        stored, scales = arrays[weight.input[0]], arrays[weight.input[1]]
        assert weight.input[0] == f"{node.name}.weight"
        assert stored.dtype == np.int8
        assert np.abs(stored.astype(int)).max() == 127
        assert scales.shape == stored.shape[:1]
        activation = source[node.input[0]]
        assert activation.op_type == "DequantizeLinear"
        assert arrays[activation.input[2]].dtype == np.uint8
    assert source["logits"].op_type == "Gemm"  # the answers are not rounded
    model = compensated_network(network(), X.split(16))
    norm = model.first[1]
    folded = model.first[0].weight * (norm.weight / (norm.running_var + 1e-5).sqrt())[:, None, None, None]
    weight = source[found[0].input[1]]
    dequantised = arrays[weight.input[0]] * arrays[weight.input[1]][:, None, None, None]
    np.testing.assert_allclose(dequantised, folded.detach().numpy(), rtol=1e-5, atol=1e-6)


def test_weights_are_rounded_so_that_errors_make_up_for_another(tmp_path):
    """The whole numbers in the file are those of the compensated network, whose outputs are nearer than the nearest's.

    On images that calibrated nothing, correlated as those that did.
    """
    torch.manual_seed(0)
    mix = torch.randn(4, 16)
    model = nn.Sequential(nn.Conv2d(16, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 5)).eval()
    seen, unseen = (torch.einsum("nchw,cd->ndhw", torch.randn(64, 4, 8, 8), mix) for _ in range(2))
    small, step = compensated_network(model, [seen]), steps(model[0].weight, 8)
    export_int8(model, [seen], tmp_path / "net.onnx")
    graph, (conv, _) = products(tmp_path / "net.onnx")
    made = {out: node for node in graph.node for out in node.output}
    held = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    numbers = torch.tensor(held[made[conv.input[1]].input[0]])
    torch.testing.assert_close(numbers.float() * step, small[0].weight.data)
    assert torch.equal(numbers.flatten(1).abs().amax(1), torch.full((8,), 127, dtype=numbers.dtype))
    errors = [float((net[0](unseen) - model[0](unseen)).norm().detach()) for net in (small, on_grid(model, 8))]
    assert errors[0] < 0.6 * errors[1], errors


def test_weights_that_cannot_be_rounded_with_others_are_left_to_the_quantiser(monkeypatch):
    model, unused = network(), nn.Conv2d(3, 3, 1)
    model.unused, model.twin = unused, nn.Linear(8 * 16, 5)
    model.twin.weight = model.last.weight  # shared
    monkeypatch.setattr(rounding, "MOST_ROWS", 26)  # first.0 has 27 inputs
    small = compensated_network(model, [X])
    changed = {n for n, p in small.named_parameters() if not torch.equal(p, model.get_parameter(n))}
    assert changed == {"depthwise.weight", "depthwise.bias", "pointwise.weight", "pointwise.bias"}


def test_the_file_is_small_and_tells_nothing_of_this_machine(files, tmp_path):
    export(network(), X[:2], tmp_path / "float.onnx")
    assert (files / "minmax.onnx").stat().st_size < (tmp_path / "float.onnx").stat().st_size
    model = onnx.load(files / "minmax.onnx")
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert {entry.domain for entry in model.opset_import} == {""}
    names = [tensor.name for tensor in model.graph.initializer]
    contents = {(t.data_type, *t.dims, numpy_helper.to_array(t).tobytes()) for t in model.graph.initializer}
    assert len(contents) == len(names)
    assert {entry.key: entry.value for entry in model.metadata_props}["mean"] == "0.5"


RUN = """
import sys, onnxruntime, numpy
session = onnxruntime.InferenceSession("net.onnx", providers=["CPUExecutionProvider"])
numpy.save("out.npy", session.run(None, {"images": numpy.load("x.npy")})[0])
assert not {"torch", "layers", "experiments"} & {*sys.modules}
"""


def test_onnxruntime_alone_runs_the_file(files, tmp_path):
    (tmp_path / "net.onnx").write_bytes((files / "minmax.onnx").read_bytes())
    np.save(tmp_path / "x.npy", X.numpy())
    subprocess.run([sys.executable, "-I", "-c", RUN], cwd=tmp_path, check=True)
    want = OnnxNetwork(files / "minmax.onnx")(X).numpy()
    assert np.array_equal(np.load(tmp_path / "out.npy"), want)


def test_threads_of_onnxruntime_wait_for_nothing_after_an_answer(files):
    """They would take the cores of what is timed next."""
    options = OnnxNetwork(files / "minmax.onnx", threads=2)._run.__closure__
    sessions = [cell.cell_contents for cell in options if isinstance(cell.cell_contents, onnxruntime.InferenceSession)]
    key = "session.force_spinning_stop"
    assert [session.get_session_options().get_session_config_entry(key) for session in sessions] == ["1"]


def test_some_images_at_a_time_give_the_histogram_of_all_at_once(floats, monkeypatch, tmp_path):
    """onnxruntime's own collecting, of one batch, is what all at once gives."""
    from onnxruntime.quantization import CalibrationMethod, create_calibrator

    path = tmp_path / "net.onnx"
    onnx.save(quantise.prepared(floats), path)
    images = torch.cat([X * scale for scale in torch.linspace(0.01, 1, 30)])  # later ones exceed the first
    monkeypatch.setattr(ranges, "HELD", 2**18)
    assert 5 * X[0].nbytes < activation_bytes(onnx.load(path)) < 2**18 / 9  # so 9 images at a time, or more
    minmax = ranges.calibrate_ranges(path, [images], "minmax", OPERATORS)
    for method in ("entropy", "percentile"):
        augmented, kind = str(tmp_path / "augmented.onnx"), CalibrationMethod[method.capitalize()]
        theirs = create_calibrator(path, OPERATORS, augmented, kind, extra_options={"symmetric": False})
        theirs.collect_data(ranges._Reader([images]))
        got = ranges.calibrate_ranges(path, [images], method, OPERATORS)
        for name, data in theirs.compute_data().items():
            assert np.allclose(got[name].range_value, data.range_value)
        assert any(np.any(got[name].range_value != np.array(minmax[name].range_value)) for name, _ in minmax.items())


def test_factors_are_quantised_as_layers_are(tmp_path):
    model = network()
    small = compress(model, make_plan(model, Budget(params=0.8), ("svd",), example=X[:1]))
    export_int8(small, [X], tmp_path / "net.onnx")
    _, found = products(tmp_path / "net.onnx")
    assert len(found) > 3
    with torch.no_grad():
        want = small(X)
    assert (OnnxNetwork(tmp_path / "net.onnx")(X) - want).norm() < 0.05 * want.norm()


def test_a_layer_that_is_called_twice_has_two_operators_of_two_names(tmp_path):
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(3 * 64, 4)

        def forward(self, x):
            return self.head(self.conv(self.conv(x).relu()).flatten(1))

    torch.manual_seed(0)
    model = Twice().eval()
    export_int8(model, [X], tmp_path / "twice.onnx")
    names = [node.name for node in onnx.load(tmp_path / "twice.onnx").graph.node if node.op_type in PRODUCTS]
    assert names == ["conv", "conv/2", "head"]
    with torch.no_grad():
        wanted, got = model(X), OnnxNetwork((tmp_path / "twice.onnx").read_bytes())(X)
    assert (got - wanted).abs().max() < 0.05 * wanted.abs().max()


def test_what_an_int8_network_costs(files):
    """Parameters and multiply-accumulates of the network before; bits and bytes of the file."""
    path, dense = files / "minmax.onnx", cost(network(), X[:1])
    counted = file_cost(path)
    weights = 8 * 27 + 8 * 9 + 8 * 8 + 5 * 128  # a byte each
    held = weights + 4 * (8 + 8 + 8 + 5)  # biases
    graph, found = products(path)
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    scales = {
        name
        for node in graph.node
        if "Quantize" in node.op_type or "Dequantize" in node.op_type
        for name in node.input[1:]
    }
    held += sum(arrays[name].nbytes for name in scales)
    assert counted == FileCost(dense.params, dense.macs, counted.nonzeros, 8 * held / dense.params, path.stat().st_size)
    assert 0.9 * (weights + 29) < counted.nonzeros <= weights + 29
    assert file_cost(path.read_bytes()) == counted
    assert sum(arrays[f"{node.name}.weight"].size for node in found) == weights
    with pytest.raises(ValueError, match=r"model must be Python code: .*, got 'an .onnx"):
        cost(OnnxNetwork(path), X)
    with pytest.raises(ValueError, match="model must be one that torch runs"):
        peak_memory(OnnxNetwork(path), X)


class Computed(nn.Conv2d):
    """Its weight has mean zero: computed in each pass."""

    def forward(self, x):
        return conv2d(x, self.weight - x.mean(), self.bias)


REFUSED = {
    "no images": (network, [], "calibration images of int8 must be one at least: .* got 0"),
    "nan": (network, [X * float("nan")], "calibration images of int8 must be finite, got 'NaN or infinity among them'"),
    "computed weight": (
        lambda: nn.Sequential(Computed(3, 4, 3)),
        [X],
        "layer '0' to quantise must be of a weight that is stored, got 'Conv with a weight that the network computes'",
    ),
    "nothing": (lambda: nn.Sequential(nn.ReLU()), [X], "network to quantise must be one with a convolution or a"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_refusals_leave_nothing_behind(reason, tmp_path, monkeypatch):
    monkeypatch.setattr(quantise, "compensated_network", lambda *_: pytest.fail("weights were rounded first"))
    make, batches, sentence = REFUSED[reason]
    with pytest.raises(ValueError, match=sentence):
        export_int8(make(), batches, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())
    if reason not in ("no images", "nan"):
        with pytest.raises(ValueError, match=sentence):  # before there are calibration images
            check_int8(make(), X)


def test_an_operator_that_is_computed_in_no_8_bits_is_named_with_its_layer():
    """A recurrent layer of torch cannot be exported here, of which onnxruntime would leave the product in float32."""
    node = onnx.helper.make_node("LSTM", ["images", "w", "r"], ["y"], "node")
    node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value="['', 'inner', 'lstm']")
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "net", [], []))
    with pytest.raises(ValueError, match=r"layer 'inner' to quantise must be computed by Conv, .*, got 'LSTM'"):
        check_operators(model)


def test_a_product_left_in_floating_point_is_named(floats):
    with pytest.raises(ValueError, match=r"layer 'first.0' to quantise must be one of 8 bits, got 'a Conv left in flo"):
        check_quantised(floats, layers_of(floats))


def test_refused_by_name(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="method must be one of minmax, entropy, percentile, mse, nncf, got 'max'"):
        export_int8(network(), [X], tmp_path / "net.onnx", "max")
    with pytest.raises(ValueError, match=r"path must be a file name that ends in .onnx"):
        export_int8(network(), [X], tmp_path / "net.pt2")
    export(network(), X, tmp_path / "float.onnx")
    with pytest.raises(ValueError, match=r"file must be an .onnx file that export_int8 wrote"):
        file_cost(tmp_path / "float.onnx")
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ValueError, match=r"method nncf must be installed here \(pip install -e '.\[int8\]'\), got"):
        export_int8(network(), [X], tmp_path / "net.onnx", "nncf")
    assert [found.name for found in tmp_path.iterdir()] == ["float.onnx"]


def test_nncf_corrects_biases(files, tmp_path):
    pytest.importorskip("nncf", reason="the extra [int8] is not installed")
    export_int8(network(), [X], tmp_path / "net.onnx", "nncf")
    _, found = products(tmp_path / "net.onnx")
    assert [node.name for node in found] == NAMES
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    with torch.no_grad():
        want = network()(X)
    error = torch.from_numpy(session.run(None, {"images": X.numpy()})[0]) - want
    assert error.norm() < 0.03 * want.norm()
    assert json.loads(OnnxNetwork(tmp_path / "net.onnx").metadata["float32"])["params"] == cost(network(), X[:1]).params
