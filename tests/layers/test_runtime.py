"""`OnnxNetwork`: an .onnx file as a network, in each runtime."""

import copy
import sys

import pytest
import torch
from torch import nn

from layers import export, latency
from layers.checkpoint import OnnxNetwork

X = torch.linspace(-1, 1, 5 * 3 * 6 * 6).reshape(5, 3, 6, 6)
RUNTIMES = ("onnxruntime", "openvino")


class Two(nn.Module):
    def forward(self, x):
        return x + 1, x.flatten(1).sum(1)


@pytest.fixture(params=RUNTIMES)
def runtime(request):
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return request.param


def test_a_file_is_a_network(runtime, tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)).eval()
    export(model, X, tmp_path / "net.onnx", {"mean": "0.5"})
    for file in (tmp_path / "net.onnx", (tmp_path / "net.onnx").read_bytes()):
        network = OnnxNetwork(file, runtime, threads=2)
        assert network.metadata == {"mean": "0.5"}
        with torch.no_grad():
            for x in (X, X[:1], X.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)):
                first = network(x)
                assert torch.allclose(first, model(x), atol=1e-5)
        kept = first.clone()
        copy.deepcopy(network)(0 * X)
        network(0 * X)
        assert torch.equal(first, kept)  # not the memory of the next answer
    assert not list(network.parameters())
    assert latency(network, X, 3).median > 0


def test_several_outputs(runtime, tmp_path):
    export(Two(), X, tmp_path / "net.onnx")
    first, second = OnnxNetwork(tmp_path / "net.onnx", runtime)(X)
    assert torch.equal(first, X + 1)
    assert second.shape == (5,)


def test_what_a_file_cannot_do(runtime, tmp_path):
    export(Two(), X, tmp_path / "net.onnx")
    network = OnnxNetwork(tmp_path / "net.onnx", runtime)
    with pytest.raises(ValueError, match="mode must be eval: a file cannot be trained on, got 'training'"):
        network.train()(X)
    network.eval()
    takes = "images must be what .*net.onnx takes, float32 of batch x 3 x 6 x 6, got"
    with pytest.raises(ValueError, match=f"{takes} 'float32 of 5 x 3 x 6 x 7'"):
        network(torch.zeros(5, 3, 6, 7))
    with pytest.raises(ValueError, match=f"{takes} 'float64 of 5 x 3 x 6 x 6'"):
        network(X.double())
    with pytest.raises(ValueError, match=f"{takes} 'float32 of 3 x 6 x 6'"):
        network(X[0])


def test_files_that_are_none(runtime, tmp_path):
    with pytest.raises(ValueError, match=r"file must be an .onnx file that is there, got"):
        OnnxNetwork(tmp_path / "net.onnx", runtime)
    (tmp_path / "net.onnx").write_text("no file of ours")
    with pytest.raises(ValueError, match=f"net.onnx must be one that {runtime} can run, got"):
        OnnxNetwork(tmp_path / "net.onnx", runtime)


def test_runtimes_that_are_not_here(tmp_path, monkeypatch):
    export(Two(), X, tmp_path / "net.onnx")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(
        ValueError, match=r"runtime must be installed here \(pip install -e '.\[openvino\]'\), got 'openvino'"
    ):
        OnnxNetwork(tmp_path / "net.onnx", "openvino")
    with pytest.raises(ValueError, match="runtime must be one of onnxruntime, openvino, got 'tensorrt'"):
        OnnxNetwork(tmp_path / "net.onnx", "tensorrt")
    with pytest.raises(ValueError, match="precision in onnxruntime must be one of 32, got 'bf16'"):
        OnnxNetwork(tmp_path / "net.onnx", precision="bf16")
    with pytest.raises(ValueError, match="threads must be at least 1, got 0"):
        OnnxNetwork(tmp_path / "net.onnx", threads=0)
