"""Layers against the dense layer they replace: exact at full rank, for everything that a convolution can be asked."""

import copy
import re

import pytest
import torch
from conformance_table import COMMITTED, cells
from hypothesis import given, strategies as st
from torch import nn

import stage3_torch
from experiments.conformance.kinds import KINDS
from experiments.conformance.rows import EXACT, ROWS, dense
from layers import METHODS, Coded, Transform, code, fold
from layers.coded import is_coded
from layers.coded.transform import pack
from layers.loader import positions
from trees import post_order


def full(method, layer):
    """The method's form of the layer that leaves nothing out."""
    return method.build(layer, method.candidates(layer)[-1].spec)


def check_equal(layer, small, x, tolerance):
    want, got = layer(x), small(x)
    assert got.shape == want.shape
    assert got.dtype == want.dtype
    assert (got - want).abs().max() <= tolerance * want.abs().max()


MATRICES = {"1 x 1"}  # left to the svd
DEPTHWISE = {"depthwise", "depthwise multiplier"}  # left to spatial separation
REFUSED = {
    "spatial": MATRICES | {"1 x 3"},
    "tucker": MATRICES | DEPTHWISE,
    "cp": MATRICES | DEPTHWISE,
    "cp4": MATRICES | DEPTHWISE | {"1 x 3"},
    "ht": MATRICES | DEPTHWISE | {"1 x 3"},
}


def check_refused(name, layer, words):
    """A reason for the plan, and an error for who builds all the same."""
    assert re.search(words, METHODS[name].refusal(layer))
    for build in (METHODS[name].build, METHODS[name].shell):
        with pytest.raises(ValueError, match=f"layer must be one that {name} can take apart, got .*{words}"):
            build(layer, {})


def check_conforms(kind, layer, x, tolerance):
    """Equal to the dense convolution in both memory formats, in eval mode and in training mode, and when folded."""
    small, channels_last = kind.build(layer), x.contiguous(memory_format=torch.channels_last)
    want = kind.want(layer, small, x)
    outputs = [small(x), small(channels_last), small.eval()(x)]
    outputs += [fold(small)(x)] if kind.folds else []
    for got in outputs:
        assert got.shape == want.shape
        assert got.dtype == want.dtype
        assert (got - want).abs().max() <= tolerance * want.abs().max()


COLUMNS = [(group, name) for group, kinds in KINDS.items() for name in kinds]
TABLE = cells(COMMITTED.read_text())  # what docs/results/conformance.md says of every case below


@pytest.mark.filterwarnings("ignore:Using padding=.same. with even kernel lengths")  # the dense layer warns
@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize(("group", "name"), COLUMNS)
def test_full_rank_equals_dense_conv(group, name, row, dtype):
    layer, x = dense(row, dtype)
    if group == "factored" and row in REFUSED.get(name, ()):
        check_refused(name, layer, "depthwise" if row in DEPTHWISE else "1x[13] kernel")
        assert METHODS[name].refusal(layer) == TABLE[group, row, name]
        return
    assert float(TABLE[group, row, name]) <= EXACT[dtype]
    assert KINDS[group][name].refusal(layer) is None
    check_conforms(KINDS[group][name], layer, x, EXACT[dtype])


@given(
    kernel=st.tuples(st.integers(2, 5), st.integers(2, 5)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    mode=st.sampled_from(["zeros", "reflect", "replicate", "circular"]),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
    column=st.sampled_from(COLUMNS),
)
def test_full_rank_equals_dense_conv_of_any_geometry(kernel, stride, padding, dilation, mode, groups, bias, column):
    torch.manual_seed(0)
    layer, (group, name) = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups, bias, mode).double(), column
    if groups == 4 and group == "factored" and "depthwise" in REFUSED.get(name, ()):
        check_refused(name, layer, "depthwise")
        return
    check_conforms(KINDS[group][name], layer, torch.randn(2, 4, 12, 13, dtype=torch.float64), 1e-10)


@pytest.mark.parametrize("name", ["svd", "dct"])
@pytest.mark.parametrize("bias", [True, False])
def test_full_rank_equals_dense_linear(name, bias):
    torch.manual_seed(0)
    layer = nn.Linear(7, 5, bias, dtype=torch.float64)
    check_equal(layer, full(METHODS[name], layer), torch.randn(3, 7, dtype=torch.float64), 1e-10)


class Standardised(nn.Conv2d):
    """Computes something else with its weight."""

    def forward(self, x):
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


@pytest.mark.parametrize("name", REFUSED)
def test_other_layers_are_refused(name):
    check_refused(name, Standardised(4, 4, 3), "Standardised")
    check_refused(name, nn.ConvTranspose2d(4, 4, 3), "ConvTranspose2d")
    check_refused(name, nn.Linear(4, 4), "Linear")


@pytest.mark.parametrize("name", METHODS)
def test_the_error_is_the_predicted_one(name):
    torch.manual_seed(0)
    layer = nn.Conv2d(4, 6, 3, groups=2, bias=False, dtype=torch.float64)
    # an impulse at each input channel and pixel reads the whole weight out of any form of the layer
    x = torch.eye(4 * 25, dtype=torch.float64).reshape(100, 4, 5, 5)
    dense = layer(x)
    for form in METHODS[name].candidates(layer):
        small = METHODS[name].build(layer, form.spec)(x)
        # every weight is read 9 times, once for each place of the 3 x 3 output
        lost = (dense - small).square().sum() / 9 / layer.weight.square().sum()
        assert float(lost.detach()) == pytest.approx(form.error, abs=1e-12)


@pytest.mark.parametrize("name", METHODS)
def test_candidates_ascend_within_the_limits(name):
    torch.manual_seed(0)
    layer, calls = nn.Conv2d(12, 20, 3), []
    for multiple in (1, 4):
        candidates = METHODS[name].candidates(layer, multiple)
        assert 1 < len(candidates) <= 128
        assert candidates[-1].error == pytest.approx(0, abs=1e-6)
        costs = [METHODS[name].cost(layer, c.spec, calls).params for c in candidates]
        assert costs == sorted(costs)
        for form in candidates:
            METHODS[name].check(layer, form.spec)
            assert form.kernel == name
            assert 0 <= form.error <= 1


@pytest.mark.parametrize("name", ["svd", "spatial", "tucker", "cp", "cp4", "ht"])
def test_ranks_are_multiples_or_full(name):
    torch.manual_seed(0)
    candidates = METHODS[name].candidates(nn.Conv2d(20, 28, 3), 8)

    def ranks(spec):
        return spec.get("ranks") or [spec["rank"]]

    for form in candidates:
        assert all(rank % 8 == 0 or rank == most for rank, most in zip(ranks(form.spec), ranks(candidates[-1].spec)))
    assert any(rank % 8 == 0 for form in candidates for rank in ranks(form.spec))


ROWS_OF_LAYERS = [  # every root of the two unrooted trees, and children in either order
    ((1, 2), (3, 0)),
    ((0, 3), (2, 1)),
    (1, (2, (3, 0))),
    ((0, 3), (1, 2)),
    (2, (1, (3, 0))),
    (((1, 2), 0), 3),
    (((1, 2), 3), 0),
    ((1, 3), (2, 0)),
    (3, (1, (0, 2))),
]


@pytest.mark.parametrize("ranks", [[5, 12, 7], [3, 4, 5], [2, 6, 2], [1, 1, 1]])
@pytest.mark.parametrize("tree", ROWS_OF_LAYERS)
def test_every_tree_that_is_a_row_gives_the_decoded_tensor(tree, ranks):
    torch.manual_seed(0)
    layer = nn.Conv2d(5, 7, (3, 4), bias=False, dtype=torch.float64)
    x = torch.eye(5 * 12, dtype=torch.float64).reshape(60, 5, 3, 4)  # each impulse reads one weight
    small = METHODS["ht"].build(layer, {"ranks": ranks, "tree": tree})
    leaf = {1: small[0].out_channels, 0: small[3].in_channels, 2: 3, 3: 4}

    def rank(t):
        modes = {int(digit) for digit in re.findall("[0-3]", str(t))}
        side = modes if len(modes) < 3 else {0, 1, 2, 3} - modes
        return leaf[min(side)] if len(side) == 1 else small[1].out_channels

    spec = {"rank": tuple(rank(t) for t in post_order(tree)[:-1]), "tree": tree}
    want = stage3_torch.unht(stage3_torch.ht(layer.weight.detach(), **spec), tree=spec["tree"])
    got = small(x).reshape(5, 3, 4, 7).movedim(3, 0)
    assert torch.allclose(got, want, atol=1e-12)


@pytest.mark.parametrize("tree", [((0, 1), (2, 3)), (0, (1, (2, 3))), ((2, (0, 1)), 3), (0, 1), "x", [[1, 2], [3, 1]]])
def test_other_trees_are_refused(tree):
    with pytest.raises(ValueError, match=r"tree must be a tree with inputs .*\[\[1, 2\], \[3, 0\]\]"):
        METHODS["ht"].build(nn.Conv2d(4, 4, 3), {"ranks": [1, 1, 1], "tree": tree})


IMPOSSIBLE = [
    ("svd", {"rank": 99}, "rank must be 1 to 6, got 99"),
    ("svd", {"rank": 0}, "rank must be 1 to 6, got 0"),
    ("svd", {"rank": 2.0}, "rank must be 1 to 6, got 2.0"),
    ("svd", {"rank": True}, "rank must be 1 to 6, got True"),
    ("spatial", {"rank": 13}, "rank must be 1 to 12, got 13"),
    ("svd", {}, r"keys of the spec must be exactly rank, got \[\]"),
    ("svd", {"rank": 2, "ranks": 2}, r"keys of the spec must be exactly rank, got \['rank', 'ranks'\]"),
    ("svd", None, "spec must be a table of rank, got None"),
    ("tucker", {"ranks": [7, 4]}, r"ranks must be \[out 1 to 6, into 1 to 4\], got \[7, 4\]"),
    ("tucker", {"ranks": 4}, r"ranks must be \[out 1 to 6, into 1 to 4\], got 4"),
    ("cp", {"rank": 25}, "rank must be 1 to 24, got 25"),
    ("cp4", {"rank": 37}, "rank must be 1 to 36, got 37"),
    ("ht", {"ranks": [4, 13, 6], "tree": [[1, 2], [3, 0]]}, "middle 1 to 12"),
    ("dct", {"keep": 217, "axes": [2]}, "keep must be 1 to 216, got 217"),
    ("dct", {"keep": 1, "axes": [4]}, r"axes must be a list of different integers in 0 to 3, got \[4\]"),
]


@pytest.mark.parametrize(("name", "spec", "sentence"), IMPOSSIBLE)
def test_impossible_specs_are_refused(name, spec, sentence):
    for build in (METHODS[name].build, METHODS[name].shell):
        with pytest.raises(ValueError, match=sentence):
            build(nn.Conv2d(4, 6, 3), spec)


def test_tucker_by_hand():
    # W = 2 a o b o k with unit vectors: rank (1, 1), and whatever the balance, the product of the factors is W
    a, b = torch.tensor([0.6, 0.8]), torch.tensor([0.0, 1.0, 0.0])
    kernel = torch.full((2, 2), 0.5)
    layer = nn.Conv2d(3, 2, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(2 * torch.einsum("o,i,hw->oihw", a, b, kernel))
    for name, spec in {
        "tucker": {"ranks": [1, 1]},
        "cp": {"rank": 1},
        "cp4": {"rank": 1},
        "ht": {"ranks": [1, 1, 1], "tree": [[1, 2], [3, 0]]},
    }.items():
        small = METHODS[name].build(layer, spec)
        norms = [float(f.weight.detach().norm()) for f in small]
        assert norms == pytest.approx([2 ** (1 / len(norms))] * len(norms), rel=1e-5)
        x = torch.eye(12).reshape(12, 3, 2, 2)
        assert torch.allclose(small(x), layer(x), atol=1e-6)


def test_a_zero_weight_stays_zero():
    layer = nn.Conv2d(4, 6, 3)
    nn.init.zeros_(layer.weight)
    for method in METHODS.values():
        small = method.build(layer, method.candidates(layer)[0].spec)
        assert torch.equal(small(torch.randn(1, 4, 5, 5)), layer.bias.reshape(1, 6, 1, 1).expand(1, 6, 3, 3))


def test_factors_take_over_dtype_mode_and_requires_grad():
    layer = nn.Conv2d(4, 6, 3, dtype=torch.float64).requires_grad_(False).eval()
    small = METHODS["svd"].build(layer, {"rank": 2})
    assert not small.training
    assert {p.dtype for p in small.parameters()} == {torch.float64}
    assert not any(p.requires_grad for p in small.parameters())


CODES = [lambda: Coded("svd", rank=3), lambda: Coded("dct"), lambda: Transform("dct", keep=40, axes=(2, 3))]


@pytest.mark.parametrize("make", CODES)
def test_coded_layers_train_and_fold(make):
    torch.manual_seed(0)
    layer = code(nn.Conv2d(4, 6, 3, dtype=torch.float64), make())
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    before = layer(x)
    optimizer = torch.optim.SGD(layer.parameters(), 1e-4)
    before.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())
    optimizer.step()
    after = layer(x)
    assert after.square().sum() < before.square().sum()
    folded = fold(copy.deepcopy(nn.Sequential(layer)))[0]
    assert not is_coded(folded)
    assert type(folded) is nn.Conv2d
    assert torch.equal(folded(x), after)


@pytest.mark.parametrize("make", CODES)
def test_the_cached_weight_is_never_stale(make):
    torch.manual_seed(0)
    layer = code(nn.Linear(6, 5), make()) if make is not CODES[2] else code(nn.Conv2d(4, 6, 3), make())
    layer.eval()
    with torch.no_grad():
        first = layer.weight
        assert layer.weight is first  # the cache is used
        next(iter(layer.parametrizations.parameters())).mul_(2)
        assert not torch.equal(layer.weight, first)
        other = copy.deepcopy(layer)
        for p in other.parametrizations.parameters():
            p.zero_()
        layer.load_state_dict(other.state_dict())
        assert layer.weight.abs().max() == 0
        assert layer.double().weight.dtype == torch.float64
    assert layer.weight.requires_grad  # with gradients on, the weight is decoded anew


def test_transform_keeps_the_largest_coefficients_and_stores_only_them():
    layer = nn.Linear(4, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor([[2.0, 2, 2, 2], [1, -1, -1, 1]]))
    # orthonormal DCT along the inputs: row 0 -> (4, 0, 0, 0); row 1 -> (0, 0, 2, 0)
    code(layer, Transform("dct", keep=2, axes=(1,)))
    values = layer.parametrizations.weight.original0
    assert torch.allclose(values, torch.tensor([4.0, 2.0]), atol=1e-6)
    assert layer.parametrizations.weight[0].index.tolist() == [0, 6]
    state = layer.state_dict()
    assert sum(t.numel() * t.element_size() for t in state.values()) == 2 * 4 + 1  # two floats, eight bits


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_packed_bits_come_back(bits):
    mask = torch.tensor(bits)
    assert pack(mask).numel() == -(-len(bits) // 8)
    assert positions(pack(mask), len(bits)).tolist() == [place for place, bit in enumerate(bits) if bit]


@pytest.mark.parametrize("make", [lambda: Coded("fft"), lambda: Transform("svd", keep=1, axes=(0,))])
def test_unknown_kernels_are_refused(make):
    with pytest.raises(ValueError, match=r"kernel must be one of .*dct"):
        make()


def test_keep_must_be_possible():
    with pytest.raises(ValueError, match="keep must be 1 to 20, got 21"):
        code(nn.Linear(5, 4), Transform("dct", keep=21, axes=(0, 1)))
