"""The optional `bound` of CP's spec: terms of small norm, within a relative error, in plans and at rest."""

import json

import pytest
import torch
from torch import nn

from layers import METHODS, Budget, Plan, compress, load, make_plan, save


def layer():
    """A weight whose best CP of rank 8 has terms that nearly cancel: a sum of a o a o b and its turns."""
    torch.manual_seed(0)
    conv = nn.Conv2d(6, 6, (1, 6), bias=False)
    a, b = torch.linalg.qr(torch.randn(6, 2)).Q.T
    turns = [(a, a, b), (a, b, a), (b, a, a)]
    weight = sum(torch.einsum("o,i,w->oiw", *turn) for turn in turns)
    conv.weight.data = (weight + 0.01 * torch.randn(6, 6, 6))[:, :, None]
    return conv


def norms_and_error(conv, factors):
    dense = torch.eye(36).reshape(36, 6, 1, 6)
    with torch.no_grad():
        error = (factors(dense) - conv(dense)).norm() / conv(dense).norm()
    return sum(float(factor.weight.detach().square().sum()) for factor in factors), float(error)


def test_a_bound_makes_the_terms_smaller_and_keeps_the_error():
    conv = layer()
    plain = norms_and_error(conv, METHODS["cp"].build(conv, {"rank": 2}))
    tight = norms_and_error(conv, METHODS["cp"].build(conv, {"rank": 2, "bound": 0.0}))
    loose = norms_and_error(conv, METHODS["cp"].build(conv, {"rank": 2, "bound": 0.3}))
    assert tight[1] <= plain[1] * (1 + 1e-3)  # no more than CP reaches anyway
    assert loose[1] <= max(0.3, plain[1]) * (1 + 1e-3)
    assert loose[0] < 0.9 * plain[0]


@pytest.mark.parametrize("bound", [1.0, -0.1, True, "small", float("nan")])
@pytest.mark.parametrize("kernel", ["cp", "cp4"])
def test_other_bounds_are_refused(kernel, bound):
    with pytest.raises(ValueError, match="bound must be a relative error from 0 to below 1, got"):
        METHODS[kernel].build(nn.Conv2d(4, 4, 3), {"rank": 2, "bound": bound})


@pytest.mark.parametrize("kernel", ["cp", "cp4"])
def test_a_hand_edited_plan_with_a_bound_is_built_saved_and_loaded(kernel, tmp_path):
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Conv2d(4, 8, 3)), torch.randn(1, 4, 6, 6)
    make_plan(model, Budget(macs=0.7), (kernel,), example=x).save(tmp_path / "plan.json")
    data = json.loads((tmp_path / "plan.json").read_text())
    data["layers"][0]["spec"]["bound"] = 0.9
    (tmp_path / "plan.json").write_text(json.dumps(data))
    plan = Plan.load(tmp_path / "plan.json")
    small = compress(model, plan)
    save(small, plan, tmp_path / "small")
    fresh = load(tmp_path / "small", nn.Sequential(nn.Conv2d(4, 8, 3)))
    with torch.no_grad():
        assert torch.equal(fresh(x), small(x))
