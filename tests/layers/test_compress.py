"""compress, save and load: the given network untouched, outputs bit-identical, bad files refused in a sentence."""

import copy
import itertools
import json
import pickle
from functools import partial

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from experiments.lab.models.cifar_resnet import CifarResNet
from experiments.lab.models.lenet import LeNet
from layers import METHODS, Budget, compress, fold, load, make_plan, save
from layers.network import load_tensors
from layers.thinning import mask, masks

X = torch.linspace(-1, 1, 3 * 32 * 32).reshape(1, 3, 32, 32)
resnet = partial(CifarResNet, 8)  # a block of each width
KERNELS = {name: Budget(params=0.6) for name in METHODS}


@pytest.fixture(scope="module", params=KERNELS)
def saved(request, tmp_path_factory):
    """(dense, compressed, plan, folder) of one kernel."""
    torch.manual_seed(0)
    model = resnet().eval()
    plan = make_plan(model, KERNELS[request.param], (request.param,), example=X)
    small = compress(model, plan)
    folder = tmp_path_factory.mktemp(request.param) / "small"
    save(small, plan, folder)
    return model, small, plan, folder


def test_the_given_network_is_untouched(saved):
    model, small, plan, _ = saved
    torch.manual_seed(0)
    fresh = resnet()
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), fresh.state_dict().values()))
    ours = {p.data_ptr() for p in small.parameters()}
    assert not ours & {p.data_ptr() for p in model.parameters()}
    assert any(row.kernel for row in plan.layers)


def test_loaded_outputs_are_bit_identical(saved):
    _, small, _, folder = saved
    torch.manual_seed(1)
    fresh = resnet().eval()
    loaded = load(folder, fresh)
    with torch.no_grad():
        assert torch.equal(loaded(X), small(X))
        assert torch.equal(fold(loaded)(X), fold(copy.deepcopy(small))(X))
    assert sorted(path.name for path in folder.iterdir()) == ["loader.py", "model.safetensors", "plan.json"]
    assert [path.name for path in folder.parent.iterdir()] == ["small"]


def test_saving_again_replaces(saved, tmp_path):
    _, small, plan, _ = saved
    for _ in range(2):
        save(small, plan, tmp_path / "a" / "b")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b"]


def test_tied_tensors_come_back(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 30), nn.Linear(30, 30))
    model[1].weight = model[0].weight
    x = torch.ones(1, 3)
    plan = make_plan(model, Budget(macs=0.6), ("svd",), example=x)
    small = compress(model, plan)
    save(small, plan, tmp_path / "small")
    fresh = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 30), nn.Linear(30, 30))
    fresh[1].weight = fresh[0].weight
    assert torch.equal(load(tmp_path / "small", fresh)(x), small(x))


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


def pickled(path):
    path.write_bytes(pickle.dumps({"conv1.weight": 1}))


def edit(change):
    def damage(path):
        tensors = load_file(path)
        change(tensors)
        save_file(tensors, path)

    return damage


DAMAGE = {
    "truncated": (truncate, "must be a whole safetensors file, got one that cannot be read"),
    "a pickle": (pickled, "must be a whole safetensors file, got one that cannot be read"),
    "empty": (lambda path: path.write_bytes(b""), "must be a whole safetensors file"),
    "missing": (edit(lambda t: t.pop("fc3.bias")), "must hold the tensors of LeNet, got: fc3.bias is missing"),
    "too many": (edit(lambda t: t.update(extra=torch.zeros(1))), "extra is not in the model"),
    "shape": (edit(lambda t: t.update({"fc3.bias": torch.zeros(7)})), r"fc3.bias has shape \(7,\) instead of \(10,\)"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_bad_tensors_are_refused_and_change_nothing(tmp_path, name):
    damage, sentence = DAMAGE[name]
    path, model = tmp_path / "a.safetensors", LeNet()
    save_file(LeNet().state_dict(), path)
    damage(path)
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ValueError, match=sentence):
        load_tensors(model, path)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))


def test_a_network_without_numbers_is_refused_by_the_name_of_a_layer():
    model = resnet()
    plan = make_plan(model, Budget(macs=0.5), ("svd",), "energy", example=X)
    with pytest.raises(ValueError, match=r"weight of layer '.*' must be a tensor with numbers, got 'on the meta"):
        compress(copy.deepcopy(model).to("meta"), plan)
    model.linear.bias.data[3] = torch.nan
    with pytest.raises(ValueError, match="bias of layer 'linear' must be finite, got 'NaN'"):
        compress(model, plan)


def test_a_plan_for_another_network_is_refused(saved):
    _, _, plan, folder = saved
    with pytest.raises(ValueError, match=r"plan must be about layers that the model has, got .*layer3"):
        compress(LeNet(), plan)
    with pytest.raises(ValueError, match="plan must be about layers"):
        load(folder, LeNet())
    with pytest.raises(ValueError, match=r"folder must be a folder with plan.json"):
        load(folder / "nowhere", LeNet())


def test_a_plan_with_a_kernel_the_layer_cannot_take_is_refused(tmp_path):
    model = LeNet()
    plan = make_plan(model, Budget(params=0.4), ("svd",), example=torch.zeros(1, 1, 32, 32))
    plan.save(tmp_path / "plan.json")
    data = json.loads((tmp_path / "plan.json").read_text())
    for row in data["layers"]:
        row["kernel"] = "spatial" if row["kernel"] else None
    (tmp_path / "plan.json").write_text(json.dumps(data))
    with pytest.raises(ValueError, match="plan for layer 'fc1' must be a kernel that the layer can take"):
        compress(model, type(plan).load(tmp_path / "plan.json"))


def chain(*channels):
    """Convolutions of these numbers of channels, one after the other."""
    return nn.Sequential(*(nn.Conv2d(a, b, 3, padding=1) for a, b in itertools.pairwise(channels)))


OTHERS = {  # networks with the layers' names of chain(3, 8, 16)
    "wider": lambda: chain(3, 32, 64),
    "another input": lambda: chain(1, 8, 16),
    "another kernel size": lambda: nn.Sequential(nn.Conv2d(3, 8, 5), nn.Conv2d(8, 16, 3)),
    "deeper": lambda: chain(3, 8, 16, 16),
    "as many weights in another shape": lambda: nn.Sequential(nn.Conv2d(3, 8, (9, 1)), nn.Conv2d(8, 16, (1, 9))),
    "without a bias": lambda: nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(8, 16, 3)),
}


@pytest.mark.parametrize("which", OTHERS)
def test_a_plan_of_another_network_with_the_same_names_is_refused(which, tmp_path):
    x, model = torch.zeros(1, 3, 8, 8), chain(3, 8, 16)
    plan = make_plan(model, Budget(macs=0.6), example=x)
    other = OTHERS[which]()
    before = copy.deepcopy(other.state_dict())
    save(compress(model, plan), plan, tmp_path / "small")
    for refused in (lambda: compress(other, plan), lambda: load(tmp_path / "small", other)):
        with pytest.raises(ValueError, match=r"plan must be about the model, .* (parameters|shape)"):
            refused()
    assert all(torch.equal(a, b) for a, b in zip(before.values(), other.state_dict().values()))


def test_what_is_not_as_the_plan_says_is_not_saved(tmp_path):
    x, model = torch.zeros(1, 3, 8, 8), chain(3, 8, 16)
    plan = make_plan(model, Budget(macs=0.6), example=x)
    name = next(row.name for row in plan.layers if row.kernel)
    with pytest.raises(ValueError, match=f"layer '{name}' of the network to save must be as the plan says"):
        save(model, plan, tmp_path / "small")
    small = compress(model, plan)
    pruned = mask(small, masks(small, 0.5))
    with pytest.raises(ValueError, match="of the network to save must be plain or as the plan says: fold"):
        save(pruned, plan, tmp_path / "small")
    assert not list(tmp_path.iterdir())
    save(fold(pruned), plan, tmp_path / "small")
    assert torch.equal(load(tmp_path / "small", model)(x), pruned(x))
