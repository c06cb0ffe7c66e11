"""Networks whose tensors are tied, views, versioned, without numbers or of unusual dtypes, saved and read back."""

import copy

import pytest
import torch
from loaders import loader
from safetensors.torch import load_file, save_file
from torch import nn

from layers import Budget, compress, export, fold, load, make_plan, save
from layers.network import load_tensors, write_tensors
from layers.thinning import binarise, mask, masks

X = torch.linspace(-1, 1, 2 * 3 * 8 * 8).reshape(2, 3, 8, 8)
KERNELS = {"svd": "macs", "dct": "params"}  # of what a budget can be


class Body(nn.Module):
    """A convolution that can be compressed before what is unusual."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 3, padding=1)

    def forward(self, x):
        return self.end(self.conv(x).mean((2, 3)))


class Tied(Body):
    """A Linear layer whose weight is that of an embedding, which is used as well."""

    def __init__(self):
        super().__init__()
        self.classes, self.out = nn.Embedding(5, 16), nn.Linear(16, 5, bias=False)
        self.out.weight = self.classes.weight

    def end(self, y):
        return self.out(y + self.classes.weight.mean(0))


class OwnParameter(Body):
    """A Linear layer whose weight is also a parameter of the network itself."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(16, 5)
        self.centres = self.out.weight

    def end(self, y):
        return self.out(y) + y @ self.centres.T


class Views(Body):
    """Buffers that are parts of one another, the first and the last of which overlap; none is the whole."""

    def __init__(self):
        super().__init__()
        whole = torch.randn(40)
        for name, part in {"a": whole[:20], "b": whole[4:20], "c": whole[20:36], "d": whole[10:30]}.items():
            self.register_buffer(name, part)

    def end(self, y):
        return y * self.b + self.c + self.a[4:] * self.d[:16]


class Versioned(Body):
    """A module that reads an older state in another way: version 1 had its scale squared."""

    _version = 2

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def _load_from_state_dict(self, state_dict, prefix, local_metadata, *rest):
        if local_metadata.get("version") != 2:
            raise ValueError("version should be 2")
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)

    def end(self, y):
        return y * self.scale


NETWORKS = [Tied, OwnParameter, Views, Versioned]


def compressed(make, kernel):
    """(dense network, plan, compressed network with numbers of its own in all tensors)."""
    torch.manual_seed(0)
    model = make().eval()
    plan = make_plan(model, Budget.parse(f"{KERNELS[kernel]}=0.9"), (kernel,), example=X)
    assert any(row.kernel for row in plan.layers)
    return model, plan, compress(model, plan)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("make", NETWORKS)
def test_unusual_networks_come_back_to_the_bit(make, kernel, tmp_path):
    _, plan, small = compressed(make, kernel)
    save(small, plan, tmp_path / "small")
    with torch.no_grad():
        wanted = small(X)
        for read in (load, loader(tmp_path / "small")):
            torch.manual_seed(1)
            assert torch.equal(read(tmp_path / "small", make().eval())(X), wanted)


@pytest.mark.parametrize("make", [Tied, OwnParameter])
def test_compressing_keeps_what_is_tied(make, tmp_path):
    _, plan, small = compressed(make, "svd")
    assert small.out.weight is (small.classes.weight if make is Tied else small.centres)
    assert [row.kernel for row in plan.layers if row.name == "out"] == [None]
    save(small, plan, tmp_path / "small")
    again = load(tmp_path / "small", make().eval())
    assert again.out.weight is (again.classes.weight if make is Tied else again.centres)


@pytest.mark.parametrize("make", [Tied, OwnParameter])
def test_weights_that_are_tied_are_neither_pruned_nor_made_binary(make):
    torch.manual_seed(0)
    model = make()
    chosen = {name: torch.ones_like(model.get_submodule(name).weight) for name in ("conv", "out")}
    before = copy.deepcopy(model.state_dict())
    for change in (lambda: masks(model, 0.5), lambda: mask(model, chosen), lambda: binarise(model)):
        with pytest.raises(
            ValueError, match=r"must be ones whose weights no other module shares, got \"'out', its para"
        ):
            change()
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))
    fold(mask(model, masks(model, 0.5, kinds=nn.Conv2d)))  # the others may be


def test_parameters_in_one_memory_are_not_tied_unless_they_overlap():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    nn.utils.vector_to_parameters(nn.utils.parameters_to_vector(model.parameters()).detach(), model.parameters())
    assert model[0].weight.untyped_storage().data_ptr() == model[1].weight.untyped_storage().data_ptr()
    masks(model, 0.5)


@pytest.mark.parametrize("make", [Tied, Views])
def test_tensors_that_are_one_in_the_network_must_agree_in_the_file(make, tmp_path):
    _, plan, small = compressed(make, "svd")
    save(small, plan, tmp_path / "small")
    path = tmp_path / "small" / "model.safetensors"
    tensors = load_file(path)
    name = "out.weight" if make is Tied else "d"
    save_file(tensors | {name: torch.zeros_like(small.state_dict()[name])}, path)
    for read in (load, loader(tmp_path / "small")):
        with pytest.raises(ValueError, match="differs from what shares its memory in the model"):
            read(tmp_path / "small", make().eval())


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("make", NETWORKS)
def test_a_fresh_network_on_the_meta_device_gets_the_numbers(make, kernel, tmp_path):
    _, plan, small = compressed(make, kernel)
    save(small, plan, tmp_path / "small")
    with torch.device("meta"):
        fresh = make().eval()
    for read in (load, loader(tmp_path / "small")):
        got = read(tmp_path / "small", fresh)
        with torch.no_grad():
            assert torch.equal(got(X), small(X))
        assert all(tensor.is_meta for tensor in fresh.state_dict().values())
        assert make is not Tied or got.out.weight is got.classes.weight


def test_networks_without_numbers_are_neither_saved_nor_exported(tmp_path):
    model, plan, _ = compressed(Tied, "svd")
    small = compress(model, plan).to("meta")
    for leave in (
        lambda: save(small, plan, tmp_path / "small"),
        lambda: export(small, X, tmp_path / "a.pt2"),
        lambda: write_tensors(small, tmp_path / "a.safetensors"),
    ):
        with pytest.raises(ValueError, match=r"state of Tied.* must be .*numbers.*, got .*meta"):
            leave()
    assert not list(tmp_path.iterdir())


class Unsaved(Body):
    """A buffer that no file brings."""

    def __init__(self):
        super().__init__()
        self.register_buffer("shift", torch.ones(16), persistent=False)

    def end(self, y):
        return y + self.shift


def test_buffers_that_nobody_knows_are_named(tmp_path):
    _, plan, small = compressed(Unsaved, "svd")
    save(small, plan, tmp_path / "small")
    with torch.device("meta"):
        fresh = Unsaved()
    for read in (load, loader(tmp_path / "small")):
        with pytest.raises(ValueError, match=r"not saved must not be on the meta device, got shift"):
            read(tmp_path / "small", fresh)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_any_width_fill_a_network(dtype, tmp_path):
    torch.manual_seed(0)
    model, fresh = nn.BatchNorm2d(3), nn.BatchNorm2d(3)
    stored = {name: tensor.to(dtype) for name, tensor in model.state_dict().items()}  # the count of batches as well
    save_file(stored, tmp_path / "a.safetensors")
    load_tensors(fresh, tmp_path / "a.safetensors")
    assert all(torch.equal(tensor, stored[name].to(tensor)) for name, tensor in fresh.state_dict().items())
    assert fresh.weight.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.complex64])
def test_other_numbers_are_not_taken_for_weights(dtype, tmp_path):
    model = nn.Linear(3, 3)
    save_file({name: tensor.to(dtype) for name, tensor in model.state_dict().items()}, tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=rf"weight is torch.strided of {dtype} instead of .*float32"):
        load_tensors(model, tmp_path / "a.safetensors")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("kernel", KERNELS)
def test_networks_of_other_widths_come_back_in_theirs(kernel, dtype, tmp_path):
    model, plan, small = compressed(Versioned, kernel)
    save(small.to(dtype), plan, tmp_path / "small")
    for read in (load, loader(tmp_path / "small")):
        got = read(tmp_path / "small", copy.deepcopy(model).to(dtype))
        assert {p.dtype for p in got.parameters()} == {dtype}
        assert torch.equal(weight_of(got, kernel), weight_of(small, kernel))


def weight_of(network, kernel):
    """All numbers of the convolution, decoded in eval mode."""
    conv = fold(copy.deepcopy(network)).conv
    return conv.weight if kernel == "dct" else torch.cat([p.flatten() for p in conv.parameters()])
