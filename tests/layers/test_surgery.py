"""`replace`: everything is swapped that should be, nothing else changes, and what cannot be swapped is refused."""

import copy
from functools import partial

import pytest
import torch
import torchvision
from torch import nn

from layers import METHODS, Coded, code, replace
from layers.factored import CHANNEL, SPATIAL


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


def hooked(register):
    model = nn.Sequential(nn.Linear(2, 2))
    register(model[0], lambda *_: None)
    return model, "hooks"


HOOKS = [
    nn.Module.register_forward_hook,
    nn.Module.register_forward_pre_hook,
    nn.Module.register_full_backward_hook,
    nn.Module.register_full_backward_pre_hook,
]


def parametrised():
    return nn.Sequential(code(nn.Linear(2, 2), Coded("svd", rank=1))), "parametrised already"


@pytest.mark.parametrize("make", [tied, attention, *(partial(hooked, hook) for hook in HOOKS), parametrised])
def test_refuses_before_anything_is_changed(make):
    model, reason = make()
    before = dict(model.named_modules())
    with pytest.raises(ValueError, match=rf"layer '.*' cannot be swapped: .*{reason}"):
        replace(model, double)
    assert dict(model.named_modules()) == before


class Block(nn.Module):
    """Buffers, a frozen layer, a repeated child, modes of its own."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.frozen = nn.Conv2d(4, 4, 3, padding=1).eval()
        self.frozen.weight.requires_grad_(False)
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x):
        return self.norm(self.frozen(self.conv(self.conv(x)))) * self.scale


SCHEMES = {METHODS["svd"]: CHANNEL, METHODS["spatial"]: SPATIAL}
FACTORED = ["svd", "spatial", "tucker", "cp", "cp4", "ht"]


def full_rank(*names):
    """The rule that swaps every layer for the first of these methods that takes it, nothing left out."""

    def rule(name, module):
        for method in (METHODS[name] for name in names):
            if isinstance(module, nn.Conv2d | nn.Linear) and method.refusal(module) is None:
                if method in SCHEMES:  # without the singular values that candidates are made of
                    return method.build(module, {"rank": min(SCHEMES[method].matrices(module).shape[1:])})
                return method.build(module, method.candidates(module)[-1].spec)
        return None

    return rule


@pytest.mark.parametrize("name", METHODS)
def test_only_the_layers_change(name):
    torch.manual_seed(0)
    model = Block().double()
    x = torch.randn(2, 4, 6, 6, dtype=torch.float64)
    want = model(x)
    small = replace(copy.deepcopy(model), full_rank(name))
    assert torch.allclose(small(x), want, atol=1e-10)
    assert torch.equal(small.scale, model.scale)
    buffers = {key for key, _ in small.named_buffers() if "parametrizations" not in key}
    assert buffers == {key for key, _ in model.named_buffers()}
    assert small.conv.training
    assert all(not m.training for m in small.frozen.modules())
    grads = {key: p.requires_grad for key, p in small.frozen.named_parameters()}
    assert all(needs == key.endswith("bias") for key, needs in grads.items())  # the frozen weight, the trained bias
    assert all(p.requires_grad for p in small.conv.parameters())


@pytest.mark.parametrize("name", FACTORED)
def test_channels_last_stays(name):
    torch.manual_seed(0)
    model = Block().to(memory_format=torch.channels_last).eval()
    small = replace(copy.deepcopy(model), full_rank(name))
    seen = []
    for factor in small.modules():
        if isinstance(factor, nn.Conv2d):
            assert factor.weight.is_contiguous(memory_format=torch.channels_last)
            factor.register_forward_hook(
                lambda m, a, y: seen.append(y.is_contiguous(memory_format=torch.channels_last))
            )
    small(torch.randn(2, 4, 6, 6).to(memory_format=torch.channels_last))
    assert seen
    assert all(seen)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_device_stays(name, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    layer = nn.Conv2d(4, 6, 3, device=device)
    small = full_rank(name)("", layer)
    assert {p.device for p in small.parameters()} == {layer.weight.device}


SIZES = {  # the smallest inputs, up to 64 pixels, that the network pools to at least one
    "alexnet": 64,
    "vgg16_bn": 32,
    "resnet18": 64,
    "resnet50": 64,
    "densenet121": 64,
    "mobilenet_v3_small": 64,
    "convnext_tiny": 64,
    "efficientnet_b0": 64,
}
# up to 40 seconds each; what theirs are made of, the others have: 3 x 3 in alexnet, sums in mobilenet_v3_small
SLOW = {"vgg16_bn", "resnet18", "resnet50", "densenet121", "convnext_tiny", "efficientnet_b0"}
NETWORKS = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in SIZES]


def is_large(module):
    """The classifiers of AlexNet and VGG, up to 25088 x 4096: their float64 SVD takes minutes."""
    return isinstance(module, nn.Linear) and module.weight.numel() > 4_000_000


def assert_swap_keeps_the_output(name, methods, wanted):
    """The layers that are wanted at full rank: the output stays, and no other layer than these goes."""
    torch.manual_seed(0)
    model = getattr(torchvision.models, name)(weights=None).double().eval()
    x = torch.randn(1, 3, SIZES[name], SIZES[name], dtype=torch.float64)
    rule = full_rank(*methods)
    layers = {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}
    dense = {n for n, m in layers.items() if not wanted(m)}
    assert dense != set(layers)
    with torch.no_grad():
        want = model(x)
        small = replace(model, lambda path, module: rule(path, module) if wanted(module) else None)
        assert (small(x) - want).abs().max() < 1e-9
    assert {n for n, m in small.named_modules() if n in layers and isinstance(m, nn.Conv2d | nn.Linear)} == dense


@pytest.mark.parametrize("methods", [("spatial", "svd"), ("tucker", "svd")], ids="-".join)
@pytest.mark.parametrize("name", NETWORKS)
def test_full_rank_swap_of_whole_networks(name, methods):
    assert_swap_keeps_the_output(name, methods, lambda module: not is_large(module))


@pytest.mark.slow
def test_full_rank_swap_of_large_classifiers():
    # the SVD of VGG's 25088 x 4096 takes more than ten minutes
    assert_swap_keeps_the_output("alexnet", ("svd",), is_large)
