"""`python -m experiments.inspect`: what it reads of files is what the networks are, and its overlays fit the graph."""

import json

import onnx
import pytest
import torch
from torch import nn

from experiments.inspect import overlay, source
from experiments.inspect.__main__ import main
from experiments.inspect.filters import shares
from experiments.inspect.parts import edge_rank, term_norms
from layers import Budget, compress, export, fold, make_plan, save
from layers.network import write_tensors
from trees import dimension_tree


def network():
    torch.manual_seed(0)
    layers = nn.Conv2d(4, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 16, 3, padding=1), nn.ReLU(), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(16 * 64, 10)).eval()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """(folder with dense.safetensors and a folder a kernel, dense network, kernel -> compressed network)."""
    folder, dense, x = tmp_path_factory.mktemp("saved"), network(), torch.randn(2, 4, 8, 8)
    write_tensors(dense, folder / "dense.safetensors")
    made = {}
    for kernel in ("svd", "spatial", "tucker", "ht", "cp", "dct"):
        metric = "params" if kernel == "dct" else "macs"
        plan = make_plan(dense, Budget(**{metric: 0.5}), (kernel,), example=x[:1])
        made[kernel] = compress(dense, plan)
        save(made[kernel], plan, folder / kernel)
    return folder, dense, made


@pytest.mark.parametrize("kernel", ["svd", "spatial", "tucker", "ht", "cp", "dct"])
def test_the_weight_read_from_files_is_that_of_the_network(saved, kernel):
    folder, dense, made = saved
    seen = source.read(folder / kernel, None)
    (compressed,) = seen.networks
    assert compressed.layers
    x = torch.randn(3, 4, 8, 8)
    weights = {layer.row.name: layer.after for layer in compressed.layers}
    again = network()
    for name, layer in dict(again.named_modules()).items():
        if name in weights:
            layer.weight.data = weights[name]
    small = fold(made[kernel]).eval()
    for name, layer in dict(again.named_modules()).items():  # a fit may move the bias as well
        parts = small.get_submodule(name) if name else None
        if name in weights and layer.bias is not None:
            layer.bias.data = (parts[-1] if isinstance(parts, nn.Sequential) else parts).bias.data
    torch.testing.assert_close(again(x), small(x), rtol=1e-4, atol=1e-4)
    for layer in compressed.layers:
        torch.testing.assert_close(layer.before, dense.get_submodule(layer.row.name).weight.data)
        assert 0 < layer.error < 1


def test_a_page_of_a_checkpoint_and_of_weights_alone(saved, capsys):
    folder, _, _ = saved
    assert main([str(folder / "ht")]) == 0
    text = (folder / "ht" / "inspect.html").read_text()
    assert "Dimension tree and its ranks" in text
    assert "ht moved the weights that it compresses by" in text
    assert main([str(folder / "cp")]) == 0
    assert "times the norm of their sum" in (folder / "cp" / "inspect.html").read_text()
    assert main([str(folder / "dense.safetensors"), "--layers", "1"]) == 0
    text = (folder / "dense.inspect.html").read_text()
    assert "3 weights to look at" in text
    assert capsys.readouterr().out.count("page: ") == 3


def test_the_overlay_names_nodes_of_the_graph_by_their_outputs(saved):
    folder, _, made = saved
    export(made["svd"], torch.randn(2, 4, 8, 8), folder / "svd" / "model.onnx")
    (seen,) = source.read(folder / "svd", None).networks
    paths = overlay.write(seen)
    assert [path.name for path in paths] == [f"model.onnx.{what}.json" for what in overlay.VALUES]
    graph = onnx.load(folder / "svd" / "model.onnx").graph
    outputs = {output for node in graph.node for output in node.output}
    rows = {row.name: row for row in seen.plan.layers}
    for path in paths:
        data = json.loads(path.read_text())
        assert data["results"]
        assert set(data["results"]) <= outputs
    kernels = json.loads(paths[-1].read_text())["results"]
    assert sorted(found["value"] for found in kernels.values()).count("svd") == 2 * sum(
        row.kernel == "svd" for row in rows.values()
    )
    assert overlay.write(source.read(folder / "cp", None).networks[0]) == []  # not exported


def test_torn_and_foreign_files_are_refused_in_a_sentence(saved, tmp_path, capsys):
    folder, _, _ = saved
    torn = tmp_path / "torn"
    torn.mkdir()
    (torn / "plan.json").write_bytes((folder / "svd" / "plan.json").read_bytes())
    (torn / "model.safetensors").write_bytes((folder / "svd" / "model.safetensors").read_bytes()[:200])
    (tmp_path / "other.safetensors").write_text("no tensors")
    for path in (torn, tmp_path / "other.safetensors", tmp_path):
        assert main([str(path)]) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ") and said.count("\n") == 1, said  # noqa: PT018
    assert not (torn / "inspect.html").exists()


def test_the_norms_of_cps_terms_by_hand():
    first = torch.tensor([[3.0, 4.0], [1.0, 0.0]])[:, :, None, None]  # (r, i): norms 5 and 1
    middle = torch.ones(2, 1, 2, 2)  # norms 2
    last = torch.tensor([[0.0, 3.0]])[:, :, None, None]  # (o, r): norms 0 and 3
    assert term_norms([first, middle, last]).tolist() == [6.0, 0.0]


def test_the_energy_of_constant_filters_is_at_the_lowest_frequency():
    w = torch.randn(5, 2, 1, 1).expand(5, 2, 4, 4)
    for kernel in ("dct", "dht", "dwt"):
        assert shares(w, kernel)[0, 0] == pytest.approx(1)


def test_the_edges_of_the_tree_have_the_ranks_of_the_row():
    tree, ranks, shape = dimension_tree([[1, 2], [3, 0]], 4), [5, 9, 7], (16, 12, 3, 3)
    (into, height), (width, out) = tree
    assert [edge_rank(node, ranks, shape) for node in (into, height, width, out, tree[0], tree[1])] == [
        5,
        3,
        3,
        7,
        9,
        9,
    ]
