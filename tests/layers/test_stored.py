"""What `save` stores small comes back bit for bit, by `load` and by loader.py, in as few bytes as it should be."""

import copy
import json
import struct

import brotli
import pytest
import torch
from loaders import loader
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import layers
from layers import Budget, Cost, Plan, save
from layers.network import grids, network_bytes, pack, read_tensors, write_network, write_tensors
from layers.thinning import binarise, mask, masks

PLAN = Plan((), Budget(params=1.0), "energy", Cost(0, 0, 0), Cost(0, 0, 0))
WEIGHTS = 64 * 32 * 9 + 64 * 40


def network():
    """Two layers of weights, one of BatchNorm, a buffer of whole numbers."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(32, 64, 3), nn.BatchNorm2d(64), nn.ReLU(), nn.Flatten(), nn.Linear(64, 40)).eval()


def changed(change):
    """The network, every weight changed."""
    model = network()
    with torch.no_grad():
        for index in (0, 4):
            model[index].weight.copy_(change(model[index].weight))
    return model


def on_grid(weight, bits=6, rows=True):
    """Rounded to a grid, a scale for each filter or for the layer."""
    flat = weight.flatten(1)
    largest = flat.abs().amax(1, keepdim=True) if rows else flat.abs().max()
    scale = largest / (2 ** (bits - 1) - 1)
    return (scale * ((flat / scale).round() + 0.0)).reshape(weight.shape)


def pruned(weight, share=0.9):
    """The smallest to zero."""
    return torch.where(weight.abs() > weight.abs().quantile(share), weight, torch.zeros(()))


def binary(model):
    """Binary weights, as they are saved after training."""
    return layers.fold(binarise(model))


NETWORKS = {
    "dense": network,
    "binary": lambda: binary(network()),
    "binary half": lambda: binary(network()).half(),
    "pruned": lambda: changed(pruned),
    "pruned by masks": lambda: layers.fold(mask(network(), masks(network(), 0.9))),
    "nearly all zero": lambda: changed(lambda w: pruned(w, 0.999)),
    "6 bits": lambda: changed(on_grid),
    "8 bits": lambda: changed(lambda w: on_grid(w, 8)),
    "5 bits a layer": lambda: changed(lambda w: on_grid(w, 5, rows=False)),
    "pruned, 4 bits": lambda: changed(lambda w: on_grid(pruned(w, 0.8), 4, rows=False)),
    "half": lambda: network().half(),
    "bfloat16": lambda: network().bfloat16(),
    "float64": lambda: network().double(),
    "negative zeros": lambda: changed(lambda w: torch.where(w.abs() < 0.02, -torch.zeros(()), w)),
    "zero": lambda: changed(torch.zeros_like),
    "infinite": lambda: changed(lambda w: torch.where(w > 0.02, torch.inf, w)),
}


def bits(model):
    """The bytes of every tensor."""
    return {name: tensor.flatten().view(torch.uint8).tolist() for name, tensor in model.state_dict().items()}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("which", NETWORKS)
def test_every_bit_comes_back_by_both_loaders(which, compressed, tmp_path):
    model = NETWORKS[which]()
    save(model, PLAN, tmp_path / "small", compressed=compressed)
    like = network().to(next(model.parameters()).dtype)
    for load in (layers.load, loader(tmp_path / "small")):
        assert bits(load(tmp_path / "small", like)) == bits(model)


OTHERS = 2800  # bytes of biases, BatchNorm and the header
AT_MOST = {  # of the file, as it is and compressed
    "binary": (WEIGHTS / 8 + 4 * 104 + OTHERS, WEIGHTS / 8 + 4 * 104 + 2000),
    "pruned": (WEIGHTS / 8 + 4 * WEIGHTS / 10 + OTHERS, WEIGHTS * 0.469 / 8 + 3.7 * WEIGHTS / 10 + 2000),
    "nearly all zero": (4 * 100 + OTHERS, 2000),
    "6 bits": (WEIGHTS * 6 / 8 + 4 * 104 + OTHERS, WEIGHTS * 6 / 8 + 2000),
    "5 bits a layer": (WEIGHTS * 5 / 8 + OTHERS, WEIGHTS * 5 / 8 + 1500),
    "half": (2 * WEIGHTS + OTHERS, 1.9 * WEIGHTS + 1500),
    "dense": (4 * WEIGHTS + OTHERS, 3.6 * WEIGHTS + 2000),
}


@pytest.mark.parametrize("which", AT_MOST)
def test_the_file_is_as_small_as_it_is_said_to_be(which, tmp_path):
    model = NETWORKS[which]()
    for compressed, most in zip((False, True), AT_MOST[which]):
        write_network(model, tmp_path / "file", compressed)
        size = (tmp_path / "file").stat().st_size
        assert size <= most
        assert size == len(network_bytes(model, compressed))


def test_a_dense_network_is_the_safetensors_file_that_any_reader_knows(tmp_path):
    write_network(network(), tmp_path / "ours")
    write_tensors(network(), tmp_path / "plain")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "plain").read_bytes()
    assert load_file(tmp_path / "ours").keys() == network().state_dict().keys()


def test_brotli_alone_makes_no_more_of_it(tmp_path):
    for which in ("6 bits", "pruned", "dense"):
        model = NETWORKS[which]()
        assert len(network_bytes(model, True)) < 1.01 * len(brotli.compress(network_bytes(model)))


def test_tied_weights_are_stored_once(tmp_path):
    model = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False))
    model[1].weight = model[0].weight
    write_network(model, tmp_path / "file", compressed=True)
    assert [*read_tensors(tmp_path / "file")] == ["0.weight"]
    with torch.no_grad():
        model[0].weight.copy_(on_grid(model[0].weight))
    save(model, PLAN, tmp_path / "small")
    fresh = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False))
    fresh[1].weight = fresh[0].weight
    again = layers.load(tmp_path / "small", fresh)
    assert again[1].weight is again[0].weight
    assert torch.equal(again[0].weight, model[0].weight)


@pytest.mark.parametrize("seed", range(20))
def test_any_tensor_comes_back(seed):
    generator = torch.Generator().manual_seed(seed)
    shape = torch.randint(1, 9, (1 + seed % 4,), generator=generator).tolist()
    x = torch.randn(shape, generator=generator) * 10.0 ** (seed % 7 - 3)
    for values in (x, x.half(), x.double(), x.round(), x.sign(), x.clamp_min(0), (x * 50).to(torch.uint8), x.isnan()):
        model = nn.Module()
        model.register_buffer("x", values)
        assert json.dumps(pack(values).form) is not None
        for compressed in (False, True):
            data = network_bytes(model, compressed)
            assert len(data) <= 400 + values.nbytes


def facts(path):
    """The metadata of a file."""
    with safe_open(path, "pt") as file:
        return file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def lie(path, change):
    """Change what the file says of its packed tensors."""
    told, tensors = facts(path)
    forms = json.loads(told[".packed"])
    change(forms["0.weight"], tensors)
    save_file(tensors, path, told | {".packed": json.dumps(forms)})


LIES = {
    "another form": lambda form, tensors: form.update(form="__class__"),
    "another dtype": lambda form, tensors: form.update(dtype="complex64"),
    "a larger tensor": lambda form, tensors: form.update(shape=[1 << 20, 1 << 20]),
    "a tensor that no machine holds": lambda form, tensors: form.update(shape=[1 << 62, 1 << 62]),
    "less than nothing": lambda form, tensors: form.update(shape=[-1, -64 * 288]),
    "a part of a size": lambda form, tensors: form.update(shape=[64.5, 288]),
    "another shape": lambda form, tensors: form.update(shape=[32, 32, 3, 3]),
    "no shape": lambda form, tensors: form.pop("shape"),
    "larger levels": lambda form, tensors: form["parts"]["levels"].update(shape=[1 << 40]),
    "wide levels": lambda form, tensors: form["parts"]["levels"].update(width=64),
    "narrow levels": lambda form, tensors: form["parts"]["levels"].update(width=0),
    "few levels": lambda form, tensors: tensors.update({"0.weight.levels.bits": torch.zeros(5, dtype=torch.uint8)}),
    "levels of another kind": lambda form, tensors: tensors.update({"0.weight.levels.bits": torch.zeros(13824)}),
    "no levels": lambda form, tensors: tensors.pop("0.weight.levels.bits"),
    "no scale": lambda form, tensors: tensors.pop("0.weight.scale"),
    "few scales": lambda form, tensors: tensors.update({"0.weight.scale": torch.ones(3)}),
    "a text": lambda form, tensors: form.update(low="eval"),
    "a circle": lambda form, tensors: form["parts"].update(scale=form["parts"]["levels"]),
}


@pytest.mark.parametrize("which", LIES)
def test_lies_about_a_packed_tensor_give_one_sentence(which, tmp_path):
    folder, model = tmp_path / "small", network()
    save(NETWORKS["6 bits"](), PLAN, folder)
    lie(folder / "model.safetensors", LIES[which])
    for load in (layers.load, loader(folder)):
        with pytest.raises(ValueError, match=r"must hold|must be") as caught:
            load(folder, model)
        assert "\n" not in str(caught.value)
    assert bits(model) == bits(network())


def test_gaps_that_lead_out_of_the_tensor_are_refused(tmp_path):
    folder = tmp_path / "small"
    save(NETWORKS["pruned"](), PLAN, folder)

    def change(form, tensors):
        tensors["0.weight.gaps.bits"].fill_(255)
        form["longest"] = 255

    lie(folder / "model.safetensors", change)
    for load in (layers.load, loader(folder)):
        with pytest.raises(ValueError, match="place"):
            load(folder, network())


def rewrite(path, size=None, data=None):
    """A compressed file that says another size, or holds other bytes."""
    told, tensors = facts(path)
    (old,) = tensors.values()
    new = old if data is None else torch.tensor(list(data(old.numpy().tobytes())), dtype=torch.uint8)
    save_file({"": new}, path, {".brotli": told[".brotli"] if size is None else size})


BOMB = brotli.compress(b"\0" * 2**28, quality=1)
DAMAGE = {
    "torn": lambda path: rewrite(path, data=lambda old: old[:-30]),
    "foreign": lambda path: rewrite(path, data=lambda old: b"not brotli" * 100),
    "empty": lambda path: rewrite(path, data=lambda old: b""),
    "a size too small": lambda path: rewrite(path, size="100"),
    "a size too large": lambda path: rewrite(path, size="90000"),
    "a size beyond the network": lambda path: rewrite(path, size=str(2**40)),
    "no size": lambda path: rewrite(path, size="much"),
    "a bomb": lambda path: rewrite(path, size="50000", data=lambda old: BOMB),
    "a bomb that says so": lambda path: rewrite(path, size=str(2**28), data=lambda old: BOMB),
    "zeros": lambda path: rewrite(path, size=str(2**16), data=lambda old: brotli.compress(b"\0" * 2**16)),
    "a header that lies": lambda path: rewrite(
        path, size="16", data=lambda old: brotli.compress(struct.pack("<Q", 1 << 60) + b"{}      ")
    ),
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-40]),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_compressed_files_give_one_sentence(damage, tmp_path):
    folder, model = tmp_path / "small", network()
    save(NETWORKS["6 bits"](), PLAN, folder, compressed=True)
    DAMAGE[damage](folder / "model.safetensors")
    for load in (layers.load, loader(folder)):
        with pytest.raises(ValueError, match=r"must hold|must be") as caught:
            load(folder, copy.deepcopy(model))
        assert "\n" not in str(caught.value)


def test_without_brotli_a_compressed_file_says_what_to_install(tmp_path, monkeypatch):
    folder = tmp_path / "small"
    save(network(), PLAN, folder, compressed=True)
    monkeypatch.setitem(__import__("sys").modules, "brotli", None)
    for load in (layers.load, loader(folder)):
        with pytest.raises(ValueError, match="pip install brotli"):
            load(folder, network())
    save(network(), PLAN, tmp_path / "plain")
    assert bits(loader(tmp_path / "plain")(tmp_path / "plain", network())) == bits(network())


def test_a_weight_without_a_grid_is_refused_by_few_of_its_numbers(monkeypatch):
    """Of uniform ones, as layers begin with, the largest are so alike that they alone are whole ones of any grid."""
    monkeypatch.setattr(grids, "_whole", lambda *_: pytest.fail("all numbers were looked at"))
    torch.manual_seed(0)
    alike = torch.rand(64, 4096)
    alike[:, :16] = 1.0  # as many that are equal as of a large layer are equal but for rounding
    assert list(grids.grids_of(alike)) == []
