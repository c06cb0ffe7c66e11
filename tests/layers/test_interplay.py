"""Compressed networks under torch.compile, autocast, DistributedDataParallel and deepcopy: each holds every kernel.

Inductor, which compiles C++ for a minute, is asked behind -m slow; the other back end traces and differentiates too.
"""

import copy

import pytest
import torch
import torch.distributed as dist
from processes import two
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from layers import METHODS, Coded, FrequencyConv2d, FrequencyLinear, code

FACTORED = ("svd", "spatial", "tucker", "cp", "cp4", "ht")


def half(name, layer):
    """The middle one of the candidates."""
    candidates = METHODS[name].candidates(layer)
    return METHODS[name].build(layer, candidates[len(candidates) // 2].spec)


def conv():
    return nn.Conv2d(4, 4, 3, padding=1)


def factored():
    """A convolution by every factored kernel, and a Linear layer."""
    layers = [layer for name in FACTORED for layer in (half(name, conv()), nn.GELU())]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), half("svd", nn.Linear(16, 10)))


def coded():
    """A convolution by every transform and every decomposition that is decoded, and Linear layers."""
    convs = [half(name, conv()) for name in METHODS if name not in FACTORED]
    codes = {
        "svd": {"rank": 2},
        "tucker": {"ranks": (3, 3), "modes": (0, 1)},
        "cp": {"rank": 3, "sweeps": 2},
        "ht": {"rank": 3},
    }
    convs += [code(conv(), Coded(name, **spec)) for name, spec in codes.items()]
    layers = [layer for convolution in convs for layer in (convolution, nn.GELU())]
    linears = [half(name, nn.Linear(16, 16)) for name in METHODS if name not in FACTORED]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), *linears, nn.Linear(16, 10))


def frequency():
    """A convolution and a Linear layer of every real frequency kernel."""
    kernels = ("dct", "dst", "dht", "shannon")
    convs = [FrequencyConv2d(4, 4, 3, padding=1, kernel=kernel) for kernel in kernels]
    linears = [FrequencyLinear(16, 16, kernel=kernel) for kernel in kernels]
    return nn.Sequential(*convs, nn.AdaptiveAvgPool2d(2), nn.Flatten(), *linears)


NETWORKS = {"factored": factored, "coded": coded, "frequency": frequency}
X = torch.linspace(-1, 1, 6 * 4 * 8 * 8).sin().reshape(6, 4, 8, 8)


def network(name):
    torch.manual_seed(0)
    return NETWORKS[name]()


def gradients(model, x):
    """Of the mean square of what the model returns, in the order of its parameters."""
    loss = model(x).float().square().mean()
    return torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])


def check_close(got, want, tolerance):
    """To `tolerance` of the largest value, tensor by tensor."""
    assert len(got) == len(want)
    for a, b in zip(got, want):
        assert (a - b).abs().max() <= tolerance * b.abs().max()


def check_compiled(name, backend):
    model = network(name)
    torch._dynamo.reset()
    fast = torch.compile(model, backend=backend, fullgraph=True)
    check_close([fast(X)], [model(X)], 1e-5)
    check_close(gradients(fast, X), gradients(model, X), 1e-3)
    model.eval()
    with torch.no_grad():
        check_close([fast(X)], [model(X)], 1e-5)
        for parameter in model.parameters():
            parameter.mul_(0.5)
        check_close([fast(X)], [model(X)], 1e-5)  # no decoded weight is baked into the graph


@pytest.mark.parametrize(
    "name", ["factored", *(pytest.param(name, marks=pytest.mark.slow) for name in ("coded", "frequency"))]
)
def test_compiles_to_one_graph(name):
    check_compiled(name, "aot_eager")


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_compiles_by_inductor(name):
    check_compiled(name, "inductor")


@pytest.mark.parametrize("name", NETWORKS)
def test_autocast(name):
    model = network(name)
    want, steep = model(X), gradients(model, X)
    with torch.autocast("cpu", torch.bfloat16):
        got = model(X)
        gradient = gradients(model, X)
    assert got.dtype == torch.bfloat16
    check_close([got.float()], [want], 0.05)  # bfloat16 has 8 bits, and there are up to sixteen layers
    assert all(g.dtype == torch.float32 and g.isfinite().all() for g in gradient)
    cosine = torch.cosine_similarity(
        torch.cat([*map(torch.flatten, gradient)]), torch.cat([*map(torch.flatten, steep)]), 0
    )
    assert cosine > 0.99
    with torch.no_grad():
        assert torch.equal(copy.deepcopy(model).eval()(X), model.eval()(X))  # nothing rounded was kept


def process(rank, store, names):
    """One of two processes: the gradients that DistributedDataParallel leaves against the mean over both halves."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    try:
        for name in names:
            model, halves = network(name), X.chunk(2)
            want = [torch.stack(pair).mean(0) for pair in zip(*(gradients(model, part) for part in halves))]
            parallel = DistributedDataParallel(model)
            parallel(halves[rank]).square().mean().backward()
            check_close([p.grad for p in model.parameters() if p.requires_grad], want, 1e-4)
    finally:
        dist.destroy_process_group()


def test_two_processes_train_on_the_mean_of_their_gradients(tmp_path):
    assert two(process, tmp_path / "store", list(NETWORKS)) == [0, 0]


@pytest.mark.parametrize("name", NETWORKS)
def test_copies_are_equal_and_independent(name):
    model = network(name).eval()
    with torch.no_grad():
        want = model(X)  # fills the caches
        other = copy.deepcopy(model)
        assert torch.equal(other(X), want)
        mine = {tensor.data_ptr() for tensor in model.state_dict().values()}
        assert not mine & {tensor.data_ptr() for tensor in other.state_dict().values()}
        for parameter in other.parameters():
            parameter.mul_(0.5)
        assert torch.equal(model(X), want)
        assert not torch.equal(other(X), want)
        model.load_state_dict(other.state_dict())
        assert torch.equal(model(X), other(X))
