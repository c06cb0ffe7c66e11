"""Transposed convolutions by `svd`: 1 x 1 to r channels, then the transposed convolution from these."""

import onnxruntime
import pytest
import torch
from hypothesis import given, strategies as st
from loaders import loader
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from layers import (
    METHODS,
    SELECTORS,
    Budget,
    calibrate,
    compress,
    cost,
    export,
    load,
    make_plan,
    prune_channels,
    refit,
    save,
)

SVD = METHODS["svd"]
X = torch.linspace(-1, 1, 2 * 3 * 12 * 12).reshape(2, 3, 12, 12)


def decoder(groups=2):
    """A convolution, and three transposed ones with what they can be asked."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 2, 1),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 32, 4, 2, 1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 24, 3, (2, 1), 1, output_padding=(1, 0), groups=groups, bias=False),
        nn.ReLU(),
        nn.ConvTranspose2d(24, 3, 3, padding=2, dilation=2),
    ).eval()


@given(
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    extra=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)),
    groups=st.sampled_from([1, 2, 4]),
    bias=st.booleans(),
)
def test_full_rank_equals_the_dense_layer_of_any_geometry(kernel, stride, padding, extra, dilation, groups, bias):
    torch.manual_seed(0)
    extra = tuple(min(size, max(s, d) - 1) for size, s, d in zip(extra, stride, dilation))  # torch allows no more
    layer = nn.ConvTranspose2d(4, 8, kernel, stride, padding, extra, groups, bias, dilation).double()
    x = torch.randn(2, 4, 6, 7, dtype=torch.float64)
    small = SVD.build(layer, SVD.candidates(layer)[-1].spec)
    want = layer(x)
    for got, wanted in (
        (small(x), want),
        (small(x.contiguous(memory_format=torch.channels_last)), want),
        (small(x[0]), want[0]),  # one image without a batch
    ):
        assert got.shape == wanted.shape
        assert (got - wanted).abs().max() <= 1e-12 * wanted.abs().max()


def test_the_factors_by_hand():
    # W(i, o, h, w) = 2 a_i v(o, h, w) with unit vectors: of rank 1, and the factors share the 2
    a, v = torch.tensor([0.6, 0.8]), torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 0.0]).reshape(3, 1, 2)
    layer = nn.ConvTranspose2d(2, 3, (1, 2), stride=(1, 2), bias=False)
    with torch.no_grad():
        layer.weight.copy_(2 * torch.einsum("i,ohw->iohw", a, v))
    first, last = SVD.build(layer, {"rank": 1})
    assert type(first) is nn.Conv2d
    assert type(last) is nn.ConvTranspose2d
    sign = first.weight.detach().sum().sign()
    torch.testing.assert_close(first.weight.detach(), sign * 2**0.5 * a.reshape(1, 2, 1, 1))
    torch.testing.assert_close(last.weight.detach(), sign * 2**0.5 * v[None])


@pytest.mark.parametrize("groups", [1, 2])
def test_the_error_is_the_predicted_one_and_costs_are_those_of_the_layers(groups):
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(6, 4, (2, 3), (2, 3), groups=groups, dtype=torch.float64)
    x = torch.eye(6, dtype=torch.float64)[:, :, None, None]  # an impulse at each channel reads the whole weight
    forms = SVD.candidates(layer)
    assert [form.spec["rank"] for form in forms] == [*range(1, 6 // groups + 1)]
    assert forms[-1].error == pytest.approx(0, abs=1e-12)
    image = torch.randn(1, 6, 5, 7, dtype=torch.float64)
    assert cost(layer, image).macs == 5 * 7 * 6 * 4 // groups * 6
    for form in forms:
        SVD.check(layer, form.spec)
        small = SVD.build(layer, form.spec)
        lost = (layer(x) - small(x)).square().sum() / layer.weight.square().sum()
        assert float(lost.detach()) == pytest.approx(form.error, abs=1e-12)
        assert cost(small, image).macs == form.spec["rank"] * 5 * 7 * (6 + 4 * 6)  # in each group that part of both


def test_a_plan_counts_what_the_network_then_costs():
    model = decoder()
    plan = make_plan(model, Budget(macs=0.5), ("svd",), example=X)
    small = compress(model, plan)
    assert {row.name for row in plan.layers if row.kernel == "svd"} >= {"2", "5"}
    assert cost(small, X) == plan.after
    macs = []
    for net in (model, small):
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(X)
        macs.append(counter.get_total_flops() / 2 / len(X))
    assert macs == [plan.before.macs, plan.after.macs]
    assert macs[1] <= 0.5 * macs[0]


@pytest.mark.parametrize("selector", [name for name in SELECTORS if name != "loss"])
def test_every_selector_but_loss_judges_them(selector):
    model = decoder()
    plan = make_plan(model, Budget(params=0.4), ("svd",), selector, example=X)
    assert {row.name for row in plan.layers if row.kernel == "svd"} >= {"2", "5"}
    assert all(0 < row.error < 1 for row in plan.layers if row.kernel)
    assert cost(compress(model, plan), X).params == plan.after.params <= 0.4 * plan.before.params


def test_the_loss_leaves_them_dense_with_the_reason():
    model = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 16, 3, 2, 1), *decoder()[2:]).eval()
    stats = calibrate(model, [X], loss_aware=False)
    assert [*stats.layers] == ["0", "2"]
    plan = make_plan(model, Budget(params=0.9), ("svd", "spatial"), example=X, stats=stats)
    row = {row.name: row for row in plan.layers}
    assert row["2"].kernel
    assert row["3"].kernel is None
    reasons = "calibrate does not observe a ConvTranspose2d; ConvTranspose2d is not a plain Conv2d"
    assert row["3"].reason == row["6"].reason == reasons
    plan = make_plan(model, Budget(params=0.4), ("svd",), "energy", example=X, stats=stats)
    assert {row.name for row in plan.layers if row.kernel} >= {"2", "3"}
    small = compress(model, plan, stats=stats)
    fitted = refit(small, model, [X], stats=stats)  # fits those that are observed
    assert torch.equal(fitted[3][0].weight, small[3][0].weight)
    assert not torch.equal(fitted[2][0].weight, small[2][0].weight)


@pytest.mark.parametrize("kernel", [name for name in METHODS if name != "svd"])
def test_the_other_kernels_refuse(kernel):
    layer = nn.ConvTranspose2d(4, 4, 3)
    assert METHODS[kernel].refusal(layer).startswith("ConvTranspose2d ")
    with pytest.raises(ValueError, match=rf"layer must be one that {kernel} can .*, got 'ConvTranspose2d"):
        METHODS[kernel].build(layer, {})


class Standardised(nn.ConvTranspose2d):
    """Computes something else with its weight."""

    def forward(self, x, output_size=None):
        return nn.functional.conv_transpose2d(x, self.weight - self.weight.mean(), self.bias)


def test_what_is_no_plain_one_or_has_not_these_ranks_is_refused():
    assert SVD.refusal(Standardised(4, 4, 3)) == "Standardised has no SVD scheme"
    assert SVD.refusal(nn.ConvTranspose1d(4, 4, 3)) == "ConvTranspose1d has no SVD scheme"
    with pytest.raises(ValueError, match="rank must be 1 to 3, got 4"):
        SVD.build(nn.ConvTranspose2d(6, 4, 3, groups=2), {"rank": 4})


class Sized(nn.Module):
    def __init__(self, by_name):
        super().__init__()
        self.by_name = by_name
        self.down, self.up, self.last = (
            nn.Conv2d(3, 16, 3, 2, 1),
            nn.ConvTranspose2d(16, 24, 3, 2, 1),
            nn.Conv2d(24, 3, 3),
        )

    def forward(self, x):
        y = self.down(x)
        return self.last(self.up(y, output_size=x.shape[-2:]) if self.by_name else self.up(y, x.shape[-2:]))


@pytest.mark.parametrize("by_name", [True, False])
def test_one_that_is_called_with_a_size_stays_dense(by_name):
    model = Sized(by_name).eval()
    plan = make_plan(model, Budget(params=0.9), ("svd",), example=X)
    reasons = {row.name: row.reason for row in plan.layers}
    assert reasons["up"] == "the network calls it with an output_size, which factors do not take"
    assert compress(model, plan)(X).shape == (2, 3, 10, 10)


@pytest.mark.parametrize("pruned", [False, True])
def test_saved_and_loaded_bits(tmp_path, pruned):
    groups = 1 if pruned else 2  # grouped transposed convolutions cannot be thinned
    model = prune_channels(decoder(groups), 0.25, X).model if pruned else decoder(groups)
    assert model[2].in_channels == (12 if pruned else 16)
    plan = make_plan(model, Budget(macs=0.5), ("svd",), example=X)
    small = compress(model, plan)
    assert isinstance(small[5], nn.Sequential)
    save(small, plan, tmp_path / "small", example=X)
    for read in (load, loader(tmp_path / "small")):
        loaded = read(tmp_path / "small", decoder(groups))
        assert [type(module) for module in loaded.modules()] == [type(module) for module in small.modules()]
        with torch.no_grad():
            assert torch.equal(loaded(X), small(X))


@pytest.mark.parametrize("suffix", [".onnx", ".pt2"])
def test_exported(tmp_path, suffix):
    model = decoder()
    small = compress(model, make_plan(model, Budget(macs=0.5), ("svd",), example=X))
    path = tmp_path / f"small{suffix}"
    export(small, X, path)
    with torch.no_grad():
        want = small(X)
        if suffix == ".pt2":
            got = torch.export.load(path).module()(X)
        else:
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            got = torch.from_numpy(session.run(None, {"images": X.numpy()})[0])
    assert (got - want).abs().max() <= 1e-4 * want.abs().max()
