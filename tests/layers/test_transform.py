"""Transform layers: which coefficients stay, what is stored, what the training step builds."""

import copy
import io
from math import sqrt

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from sklearn.datasets import load_digits
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import stage1_scipy
from layers import METHODS, Coded, Cost, Transform, TransformLinear, code, cost, fold
from layers.coded import smooth_order
from layers.coded.spectrum import REAL, analyse, synthesise
from layers.loader import row_frequencies

real = pytest.mark.parametrize("name", REAL)


class Largest(TorchDispatchMode):
    """Records the largest number of elements that any tensor returned by an operation has memory for."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self.numel = max(self.numel, leaf.untyped_storage().nbytes() // leaf.element_size())
        return result


def largest_of_a_step(layer, x):
    layer(x)  # constant tables are made once
    with Largest() as seen:
        layer(x).abs().square().sum().backward()
    return seen.numel


@real
@pytest.mark.parametrize("n", [1, 2, 5, 8, 13])
def test_analysis_is_stage_1_and_synthesis_its_inverse(name, n):
    x = np.random.default_rng(n).standard_normal((3, n))
    spec = {"levels": (n - 1).bit_length()} if name == "dwt" else {}
    want = getattr(stage1_scipy, name)(x, axis=1, **spec)
    want = np.concatenate(want, 1) if name == "dwt" else want
    y = analyse(torch.from_numpy(x), name, 1)
    assert np.abs(y.numpy() - want).max() < 1e-12
    assert np.abs(synthesise(y, name, 1).numpy() - x).max() < 1e-12


def test_row_frequencies_by_hand():
    want = {
        "dct": [0, 1, 2, 3, 4, 5],
        "dst": [1, 2, 3, 4, 5, 6],
        "dht": [0, 2, 4, 6, 4, 2],  # rows 4 and 5 are 2 and 1 with another phase
        "shannon": [0, 2, 2, 4, 4, 6],  # mean; octave [1, 2) and [2, 3) in two phases each; Nyquist
    }
    for name, sixths in want.items():
        assert torch.allclose(row_frequencies(name, 6) * 6, torch.tensor(sixths, dtype=torch.float64))
    # 6 = 1 + 1 + 1 + 3: approximation and details of levels 3, 2, 1
    assert row_frequencies("dwt", 6).tolist() == [0, 0.125, 0.25, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("name", ["dct", "dht", "dst", "shannon"])
def test_row_frequencies_order_the_rows_by_how_fast_they_change(name):
    """The mean squared difference of neighbours, sin^2 for a pure wave, rises with the frequency."""
    rows = analyse(torch.eye(16, dtype=torch.float64), name, 0)
    energy = (rows - rows.roll(1, 1)).square().sum(1)
    frequency = row_frequencies(name, 16)
    low, high = energy[frequency <= 0.25], energy[frequency > 0.75]
    assert low.max() < high.min()


@real
@pytest.mark.parametrize("select", ["magnitude", "lowest"])
@pytest.mark.parametrize("order", [False, True])
def test_everything_kept_is_the_dense_layer(name, select, order):
    torch.manual_seed(0)
    linear, x = nn.Linear(9, 6, dtype=torch.float64), torch.randn(5, 9, dtype=torch.float64)
    for axes in ((0, 1), (1,), (0,), (-1, -2)):
        if order and not {0, 1} & set(axes):
            continue
        transform = Transform(name, 54, axes, select, order)
        small = TransformLinear(linear, transform)
        assert (small(x) - linear(x)).abs().max() < 1e-12  # the training path
        with torch.no_grad():
            assert (small.eval()(x) - linear(x)).abs().max() < 1e-12  # the cached weight
    conv = nn.Conv2d(4, 6, 3, groups=2, dtype=torch.float64)
    z = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    small = code(copy.deepcopy(conv), Transform(name, conv.weight.numel(), (0, 1, 2, 3), select, order))
    assert (small(z) - conv(z)).abs().max() < 1e-12


@given(
    st.sampled_from(REAL),
    st.sampled_from(["magnitude", "lowest"]),
    st.booleans(),
    st.sampled_from([(0,), (1,), (0, 1)]),
    st.integers(1, 35),
)
def test_training_without_the_weight_is_the_decoded_weight(name, select, order, axes, keep):
    torch.manual_seed(keep)
    layer = nn.Linear(7, 5, dtype=torch.float64)
    x = torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True)
    fast = TransformLinear(layer, Transform(name, keep, axes, select, order))
    slow = code(copy.deepcopy(layer), Transform(name, keep, axes, select, order))
    assert (fast(x) - slow(x)).abs().max() < 1e-12
    grads = [
        torch.autograd.grad(m(x).square().sum(), [x, next(p for p in m.parameters() if p.numel() == keep)])
        for m in (fast, slow)
        if keep != 5  # else the bias has the same size
    ]
    for a, b in zip(*grads) if grads else ():
        assert (a - b).abs().max() < 1e-10


def test_magnitude_is_the_best_choice_and_lowest_stores_no_positions():
    torch.manual_seed(0)
    weight = nn.Conv2d(4, 4, 5, bias=False).weight
    rest = {}
    for select in ("magnitude", "lowest"):
        layer = nn.Conv2d(4, 4, 5, bias=False)
        layer.weight = nn.Parameter(weight.detach().clone())
        code(layer, Transform("dct", 160, (2, 3), select))
        rest[select] = float((layer.weight - weight).detach().norm())
        stored = sum(t.numel() * t.element_size() for t in layer.state_dict().values())
        assert stored == 160 * 4 + (50 if select == "magnitude" else 0)  # 400 positions as bits
    assert rest["magnitude"] < rest["lowest"]


def test_lowest_keeps_the_corner_of_the_spectrum():
    layer = code(nn.Linear(4, 4), Transform("dct", 3, (0, 1), "lowest"))
    assert layer.parametrizations.weight[0].index.tolist() == [0, 1, 4]
    # of rows (approx, detail of level 2, two details of level 1) the coarse ones
    layer = code(nn.Linear(4, 1), Transform("dwt", 2, (1,), "lowest"))
    assert layer.parametrizations.weight[0].index.tolist() == [0, 1]


def test_haar_by_hand():
    layer = nn.Linear(4, 1, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[4.0, 2.0, 1.0, 1.0]]))
    # level 1: sums (6, 2), differences (2, 0), over sqrt 2; level 2: (8, 4) / 2.  Kept: 4, 2 and sqrt 2
    code(layer, Transform("dwt", 2, (1,), wavelet="haar"))
    assert layer.parametrizations.weight.original0.abs().tolist() == pytest.approx([4, 2])
    assert layer.weight.tolist()[0] == pytest.approx([3, 3, 1, 1])
    assert float(analyse(torch.tensor([4.0, 2, 1, 1]), "dwt", 0)[2]) == pytest.approx(sqrt(2))


def test_ordering_finds_the_smooth_order_again():
    generator = torch.Generator().manual_seed(0)
    smooth = torch.linspace(0, 3, 40)[:, None] * torch.linspace(1, 2, 30) / 3
    smooth = torch.sin(smooth * 2)
    mixed = smooth[torch.randperm(40, generator=generator)][:, torch.randperm(30, generator=generator)]
    place = smooth_order(mixed, 0)
    assert sorted(place.tolist()) == list(range(40))
    rest = {}
    for order in (False, True):
        layer = nn.Linear(30, 40, bias=False)
        with torch.no_grad():
            layer.weight.copy_(mixed)
        small = TransformLinear(layer, Transform("dct", 60, (0, 1), order=order))
        rest[order] = float((small.weight - mixed).detach().norm() / mixed.norm())
        stored = sum(t.numel() * t.element_size() for t in small.state_dict().values())
        assert stored == 60 * 4 + 150 + (70 * 2 if order else 0)
    assert rest[True] < 0.2 * rest[False]


@pytest.mark.parametrize("name", [name for name in METHODS if name in REAL])
@pytest.mark.parametrize("make", [lambda: nn.Linear(12, 8), lambda: nn.Conv2d(4, 6, 3, padding=1)])
def test_methods_build_save_and_load(name, make):
    layer = make()
    method = METHODS[name]
    spec = method.candidates(layer)[20].spec
    x = torch.randn(2, 12) if isinstance(layer, nn.Linear) else torch.randn(2, 4, 6, 6)
    small = method.build(layer, spec)
    buffer = io.BytesIO()
    torch.save(small.state_dict(), buffer)
    buffer.seek(0)
    other = method.shell(make(), spec)
    other.load_state_dict(torch.load(buffer))
    with torch.no_grad():
        assert torch.equal(other.eval()(x), small.eval()(x))
    example = x[:1]
    found = cost(nn.Sequential(small), example)
    assert found.macs == cost(nn.Sequential(layer), example).macs
    assert found == Cost(spec["keep"] + len(layer.bias), found.macs, found.bytes)


@real
def test_fold_copy_and_dtype(name):
    torch.manual_seed(0)
    layer, x = nn.Linear(12, 8), torch.randn(4, 12)
    small = nn.Sequential(TransformLinear(layer, Transform(name, 30, (0, 1)))).eval()
    assert small[0].double().weight.dtype == torch.float64
    small.float()
    with torch.no_grad():
        want = small(x)
        assert small[0].weight is small[0].weight  # the cache
        assert torch.equal(copy.deepcopy(small)(x), want)
        plain = fold(copy.deepcopy(small))
        assert type(plain[0]) is nn.Linear
        assert torch.equal(plain(x), want)
        assert not plain.training
        small[0].values.zero_()
        assert small[0].weight.abs().max() == 0
    assert type(fold(TransformLinear(layer, Transform(name, 3, (0,))))) is nn.Linear  # the root


def test_autocast_does_not_reach_the_cache():
    layer, x = code(nn.Linear(6, 5), Coded("svd", rank=2)).eval(), torch.randn(3, 6)
    with torch.no_grad():
        want = layer(x)
        layer.parametrizations.weight[0]._cache = None
        with torch.autocast("cpu", torch.bfloat16):
            assert layer(x).dtype == torch.bfloat16
        assert torch.equal(layer(x), want)


CODED = {
    "tucker": {"ranks": (6, 6), "modes": (0, 1)},
    "cp": {"rank": 6, "sweeps": 2},
    "ht": {"rank": 5},
    "svd": {"rank": 5},
}


@pytest.mark.parametrize("name", [*CODED, *REAL])
def test_training_builds_no_tensor_larger_than_twice_the_weight(name):
    torch.manual_seed(0)
    conv, x = nn.Conv2d(24, 32, 3), torch.randn(1, 24, 4, 4)
    kind = Coded(name, **CODED[name]) if name in CODED else Transform(name, 500, (0, 1, 2, 3))
    assert largest_of_a_step(code(conv, kind), x) <= 2 * 32 * 24 * 9


@real
def test_training_a_linear_layer_builds_no_tensor_larger_than_twice_the_weight(name):
    layer = TransformLinear(nn.Linear(600, 540), Transform(name, 500, (0, 1)))  # long enough for the FFTs
    assert largest_of_a_step(layer, torch.randn(8, 600)) <= 2 * 600 * 540


@real
def test_gradients(name):
    torch.manual_seed(0)
    layer = TransformLinear(nn.Linear(6, 5, dtype=torch.float64), Transform(name, 12, (0, 1), order=True))
    x = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    values = layer.values.detach().requires_grad_()
    assert torch.autograd.gradcheck(layer.transform.linear, (x, values))
    assert torch.autograd.gradcheck(layer.transform.decode, (values,))


def test_refusals():
    with pytest.raises(ValueError, match=r"kernel must be one of .*its real form is the dht, got 'dft'"):
        Transform("dft", 1, (0,))
    with pytest.raises(ValueError, match="select must be one of magnitude, lowest"):
        Transform("dct", 1, (0,), "highest")
    with pytest.raises(ValueError, match="order must be False without 0 or 1 in axes"):
        Transform("dct", 1, (2, 3), order=True)
    with pytest.raises(ValueError, match="wavelet must be None for the dct"):
        Transform("dct", 1, (0,), wavelet="haar")
    with pytest.raises(ValueError, match="keep must be 1 to 20, got 0"):
        TransformLinear(nn.Linear(5, 4), Transform("dct", 0, (0,)))


def test_a_trained_classifier_survives_and_retrains():
    """Digits: a dense layer keeps its accuracy at a third of its coefficients, and trains on from there."""
    torch.manual_seed(0)
    digits = load_digits()
    x, y = torch.tensor(digits.data, dtype=torch.float32) / 16, torch.tensor(digits.target)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

    def train(model, steps):
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for step in range(steps):
            batch = torch.arange(step * 100, step * 100 + 100) % 1400
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            return float((model.eval()(x[1400:]).argmax(1) == y[1400:]).float().mean())

    dense = train(model, 200)
    model[0] = TransformLinear(model[0], Transform("dct", 64 * 64 // 8, (0, 1)))
    assert train(model.train(), 50) > dense - 0.03


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@real
def test_cuda_equals_cpu(name):
    layer, x = nn.Linear(40, 30), torch.randn(4, 40)
    small = TransformLinear(layer, Transform(name, 200, (0, 1), order=True))
    other = copy.deepcopy(small).cuda()
    assert (other(x.cuda()).cpu() - small(x)).abs().max() < 1e-4
    with torch.no_grad():
        assert (other.eval()(x.cuda()).cpu() - small.eval()(x)).abs().max() < 1e-4
