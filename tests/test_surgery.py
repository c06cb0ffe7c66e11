"""`replace`: everything is swapped that should be, nothing else changes, and what cannot be swapped is refused."""

import copy

import pytest
import torch
import torchvision
from torch import nn

from layers import METHODS, Coded, code, replace


def double(name, module):
    """A rule: every Linear becomes one with twice its weight."""
    if not isinstance(module, nn.Linear):
        return None
    new = copy.deepcopy(module)
    with torch.no_grad():
        new.weight.mul_(2)
    return new


def test_a_repeated_child_is_swapped_everywhere_and_stays_shared():
    layer = nn.Linear(2, 2)
    model = replace(nn.Sequential(layer, nn.ReLU(), layer, nn.Sequential(layer)), double)
    assert model[0] is model[2] is model[3][0]
    assert torch.equal(model[0].weight, 2 * layer.weight)


def test_the_root_is_swapped_and_the_mode_taken_over():
    layer = nn.Linear(2, 2).eval()
    new = replace(layer, double)
    assert new is not layer
    assert not new.training


def test_names_reach_the_rule():
    seen = []
    replace(nn.Sequential(nn.Sequential(nn.ReLU())), lambda name, module: seen.append(name))
    assert seen == ["", "0", "0.0"]


def tied():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    return model, "tied to those of 1"


def attention():
    return nn.Sequential(nn.MultiheadAttention(4, 2)), "MultiheadAttention reads its weight"


def hooked():
    model = nn.Sequential(nn.Linear(2, 2))
    model[0].register_forward_hook(lambda *_: None)
    return model, "hooks"


def parametrised():
    return nn.Sequential(code(nn.Linear(2, 2), Coded("svd", rank=1))), "parametrised already"


@pytest.mark.parametrize("make", [tied, attention, hooked, parametrised])
def test_refuses_before_anything_is_changed(make):
    model, reason = make()
    before = dict(model.named_modules())
    with pytest.raises(ValueError, match=rf"layer '.*' cannot be swapped: .*{reason}"):
        replace(model, double)
    assert dict(model.named_modules()) == before


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "densenet121"])
def test_full_rank_swap_of_whole_networks(name):
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)().double().eval()
    x = torch.randn(1, 3, 48, 48, dtype=torch.float64)

    def rule(name, module):
        for method in (METHODS["spatial"], METHODS["svd"]):
            if method.refusal(module) is None:
                return method.build(module, method.candidates(module)[-1].spec)
        return None

    with torch.no_grad():
        want = model(x)
        small = replace(copy.deepcopy(model), rule)
        assert (small(x) - want).abs().max() < 1e-9
    swapped = {module for module in small.modules() if isinstance(module, (nn.Conv2d, nn.Linear))}
    assert len(swapped) == 2 * sum(isinstance(m, (nn.Conv2d, nn.Linear)) for m in model.modules())
