"""Layers whose weight is computed from something else: refused by name before anything is changed, or left alone."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from layers import Budget, calibrate, compress, make_plan, refit
from layers.thinning import binarise, mask, masks, zeros

WAYS = {
    "weight_norm": weight_norm,
    "parametrizations.weight_norm": parametrizations.weight_norm,
    "spectral_norm": spectral_norm,
    "parametrizations.spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
}


@pytest.fixture(params=WAYS)
def net(request):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.Flatten(), nn.Linear(12 * 16, 5))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the older weight_norm is deprecated
        WAYS[request.param](net[2])
    return net.eval()


def test_pruning_and_binary_weights_refuse_it_by_name(net):
    before = copy.deepcopy(net.state_dict())
    for done, use in (("prune", lambda: masks(net, 0.5)), ("binarise", lambda: binarise(net))):
        with pytest.raises(ValueError, match=f"layers to {done} must be ones with a weight of their own, got .*: 2'"):
            use()
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    chosen = masks(net, 0.5, kinds=nn.Linear)  # the others can be
    assert zeros(mask(net, chosen))["4"] == pytest.approx(0.5, abs=0.01)


def test_zeros_are_counted_of_the_weight_as_it_is_computed(net):
    share = zeros(net)["2"]
    assert share == float((net[2].weight == 0).double().mean())
    assert (share == 0.5) == any("mask" in name for name, _ in net.named_buffers())


def test_calibrate_plan_compress_and_refit_leave_it_as_it_is(net):
    x = torch.randn(8, 3, 8, 8)
    stats = calibrate(net, [x])
    for moments in (None, stats):
        plan = make_plan(net, Budget(params=0.9), example=x[:1], stats=moments)
        (row,) = (row for row in plan.layers if row.name == "2")
        assert row.kernel is None
        assert "parametrised already" in row.reason or "hooks" in row.reason
        small = refit(compress(net, plan, stats=moments), net, [x], stats=moments)
        torch.testing.assert_close(small[2].weight, net[2].weight)
    with pytest.raises(ValueError, match=r"within reach of .* \(layer '2' must stay dense: it.*\), got macs=0.2"):
        make_plan(net, Budget(macs=0.2), example=x[:1])
