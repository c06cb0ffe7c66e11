"""Networks as people have them: in-place, compiled, called by keyword, reading their layers, hard to copy."""

import threading
import warnings

import pytest
import torch
from torch import nn

from layers import (
    Budget,
    calibrate,
    compress,
    cost,
    frequency_layers,
    make_plan,
    prune_channels,
    reestimate_batchnorm,
    refit,
)
from layers.network import copy_of
from layers.thinning import binarise, mask, masks, zeros


def small_net(last=5):
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, last)
    ).eval()


@pytest.fixture
def x():
    torch.manual_seed(0)
    return torch.randn(4, 3, 10, 10)


class Around(nn.Module):
    """A network around another one, which does something to its images or around its layers."""

    def __init__(self, before=lambda net, x: x, after=lambda net, y: y):
        super().__init__()
        torch.manual_seed(1)
        self.net, self.before, self.after = small_net(), before, after

    def forward(self, x):
        return self.after(self, self.net(self.before(self, x)))


def scaled_in_place(net, x):
    return x.sub_(0.5).mul_(2.0)


def scaled(net, x):
    return (x - 0.5) * 2


def test_networks_that_work_in_place_on_their_images(x):
    pure, writing = Around(scaled).eval(), Around(scaled_in_place).eval()
    images = x.clone()
    plan = make_plan(writing, Budget(macs=0.6), example=images)
    assert plan == make_plan(pure, Budget(macs=0.6), example=images)
    stats = calibrate(writing, [images, images])
    for name, moments in calibrate(pure, [x, x]).layers.items():
        torch.testing.assert_close([*stats.layers[name][:5]], [*moments[:5]], rtol=0, atol=0)
    fitted = refit(compress(writing, plan), writing, [images]).state_dict()
    torch.testing.assert_close(fitted, refit(compress(pure, plan), pure, [x]).state_dict())
    pruned = prune_channels(writing, 0.5, images).model.state_dict()
    torch.testing.assert_close(pruned, prune_channels(pure, 0.5, x).model.state_dict())
    reestimate_batchnorm(writing, [images])
    assert torch.equal(images, x)


class Mixer(nn.Module):
    """Linear layers on (n, h, w, channels), or on (n, h w, channels)."""

    def __init__(self, flat):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.up, self.down = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 16), nn.Linear(16, 8)
        self.flat = flat

    def forward(self, x):
        y = self.stem(x).permute(0, 2, 3, 1)
        y = y.flatten(1, 2) if self.flat else y
        return self.down(self.up(y).relu()).mean(1 if self.flat else (1, 2))


@pytest.mark.parametrize("size", [8, 16, 5])  # of which one is the inputs of `up`, one its outputs
def test_linear_layers_on_images(size):
    flat, square = Mixer(True).eval(), Mixer(False).eval()
    images = torch.randn(6, 3, size, size)
    moments, right = calibrate(square, [images]).layers, calibrate(flat, [images]).layers
    torch.testing.assert_close([*moments["up"][:5]], [*right["up"][:5]])
    torch.testing.assert_close([*moments["down"][:5]], [*right["down"][:5]])
    plan = make_plan(flat, Budget(macs=0.9), ("svd",), example=images, where=lambda name, _: name != "stem")
    fitted = (refit(compress(net, plan), net, [images]).state_dict() for net in (square, flat))
    torch.testing.assert_close(*fitted)


class ByName(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 16, 3, padding=1), nn.Linear(16, 5)

    def forward(self, x):
        return self.b(input=self.a(input=x).mean((2, 3)))


def test_layers_that_are_called_by_keyword(x):
    net = ByName().eval()
    assert cost(net, x).macs == 10 * 10 * 16 * 27 + 16 * 5
    stats = calibrate(net, [x])
    assert [*stats.layers] == ["a", "b"]
    plan = make_plan(net, Budget(macs=0.7), example=x, stats=stats)
    assert refit(compress(net, plan), net, [x])(x).shape == (4, 5)
    coded = make_plan(net, Budget(params=0.5), ("dct",), example=x)
    assert {row.kernel for row in coded.layers} == {"dct"}
    assert compress(net, coded)(x).shape == (4, 5)
    assert frequency_layers(ByName(), "dct")(x).shape == (4, 5)


READS = {
    "weight.dtype": (lambda net, x: x.to(net.net[2].weight.dtype), lambda net, y: y, "weight"),
    "bias": (lambda net, x: x, lambda net, y: y + 0 * net.net[2].bias.sum(), "bias"),
    "out_channels": (lambda net, x: x, lambda net, y: y / net.net[2].out_channels, "out_channels"),
    "kernel_size": (lambda net, x: x[:, :, : 11 - net.net[2].kernel_size[0]], lambda net, y: y, "kernel_size"),
}


@pytest.mark.parametrize("case", READS)
def test_a_layer_whose_attributes_the_network_reads_stays_dense(x, case):
    *uses, attribute = READS[case]
    net = Around(*uses).eval()
    plan = make_plan(net, Budget(params=0.99), example=x)
    reasons = {row.name: row.reason for row in plan.layers}
    assert reasons["net.2"] == f"the network reads its {attribute}, which factors have not"
    assert not any("reads" in reason for name, reason in reasons.items() if name != "net.2")
    assert compress(net, plan)(x).shape == (4, 5)


def test_walking_over_modules_and_parameters_reads_nothing(x):
    net = Around(lambda net, x: x.to(next(net.parameters()).device) * len([*net.modules()])).eval()
    kinds = [type(module) for module in net.modules()]
    plan = make_plan(net, Budget(macs=0.5), example=x)
    assert not any("reads" in row.reason for row in plan.layers)
    assert [type(module) for module in net.modules()] == kinds


def test_compiled_networks_are_seen_through(x):
    net = small_net()
    compiled = torch.compile(net, backend="eager")
    with torch.no_grad():
        compiled(x)
    assert cost(compiled, x) == cost(net, x)
    stats = calibrate(compiled, [x])
    assert [*stats.layers] == ["_orig_mod.0", "_orig_mod.2", "_orig_mod.5"]
    plan = make_plan(compiled, Budget(macs=0.6), example=x, stats=stats)
    small = refit(compress(compiled, plan, stats=stats), compiled, [x])
    assert cost(small, x).macs == plan.after.macs
    assert isinstance(small.get_submodule("_orig_mod.2"), nn.Sequential)
    torch._dynamo.reset()


OPAQUE = {
    "scripted": (lambda net: torch.jit.script(net), "model must be Python code: the network that this was made of"),
    "traced": (lambda net: torch.jit.trace(net, torch.randn(4, 3, 10, 10)), "model must be Python code"),
    "partly": (
        lambda net: nn.Sequential(torch.jit.script(net[:3]), net[3:]),
        "layer '0' of Sequential must be Python code",
    ),
    "quantised": (
        lambda net: torch.ao.quantization.quantize_dynamic(net, {nn.Linear}),
        "layer '5' of Sequential must be of floating-point numbers: .*, got 'a quantised Linear'",
    ),
}


@pytest.mark.parametrize("case", OPAQUE)
def test_networks_whose_layers_cannot_be_seen_are_refused(x, case):
    make, sentence = OPAQUE[case]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit and torch.ao are deprecated
        net = make(small_net())
    for use in (cost, lambda net, x: calibrate(net, [x]), lambda net, x: prune_channels(net, 0.5, x)):
        with pytest.raises(ValueError, match=sentence):
            use(net, x)


class Stateful(Around):
    def get_extra_state(self):
        return {"version": 3}

    def set_extra_state(self, state):
        pass


def test_an_extra_state_that_is_no_tensor_costs_nothing(x):
    assert cost(Stateful(), x) == cost(small_net(), x)


def keep_answer(net, y):
    net.last = {"answers": [y]}
    return y


def test_what_torch_refuses_to_copy_is_copied_as_numbers(x):
    keeping = Around(after=keep_answer).eval()
    keeping(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the old weight_norm
        normed = nn.utils.weight_norm(nn.Conv2d(3, 4, 3))
    for net in (keeping, nn.Sequential(normed)):
        copied = copy_of(net)
        torch.testing.assert_close(copied(x), net(x))
        shared = {id(t) for t in net.parameters()} & {id(t) for t in copied.parameters()}
        assert not shared
    assert keeping.last["answers"][0].grad_fn is not None
    assert compress(keeping, make_plan(keeping, Budget(macs=0.8), example=x))(x).shape == (4, 5)
    assert prune_channels(keeping, 0.5, x).model(x).shape == (4, 5)


def test_what_cannot_be_copied_is_named(x):
    net = Around().eval()
    net.net[1].guard = threading.Lock()
    plan = make_plan(net, Budget(macs=0.8), example=x)
    with pytest.raises(ValueError, match=r"can be copied, got Around, whose net\.1\.guard cannot be$"):
        compress(net, plan)


@pytest.mark.parametrize(("value", "word"), [(torch.nan, "NaN"), (-torch.inf, "infinity")])
def test_a_weight_that_is_no_number_is_named(x, value, word):
    net = small_net()
    net[2].weight.data[0, 0, 0, 0] = value
    uses = [lambda kernel=kernel: make_plan(net, Budget(params=0.9), (kernel,), example=x) for kernel in ("svd", "dct")]
    uses += [lambda: calibrate(net, [x]), lambda: prune_channels(net, 0.5, x), lambda: refit(net, small_net(), [x])]
    for use in uses:
        with pytest.raises(ValueError, match=f"^weight of layer '2' must be finite, got '{word}'$"):
            use()


def test_a_network_without_numbers_has_costs_and_nothing_else(x):
    net = small_net().to("meta")
    assert cost(net, x) == cost(small_net(), x)
    for use in (lambda: calibrate(net, [x]), lambda: make_plan(net, Budget(macs=0.5), example=x)):
        with pytest.raises(ValueError, match="on the meta device"):
            use()
    with pytest.raises(ValueError, match="weight of layer '0' must be known: run the network once"):
        calibrate(nn.Sequential(nn.LazyLinear(4)), [x])


def test_images_of_another_dtype_or_without_a_batch_axis_are_refused(x):
    for use in (lambda x: cost(small_net(), x), lambda x: calibrate(small_net(), [x], loss_aware=False)):
        with pytest.raises(ValueError, match=r"images\.dtype must be one that the model takes, got torch.uint8"):
            use(x.to(torch.uint8))
        with pytest.raises(ValueError, match=r"images must be a batch \(n, channels, ...\): images\[None\]"):
            use(x[0])
        with pytest.raises(ValueError, match="batch must be a tensor of images"):
            use(x[:0])
    with pytest.raises(ValueError, match=r"images\.dtype must be a floating dtype, got 'torch.uint8'"):
        calibrate(small_net(), [x.to(torch.uint8)])
    with torch.inference_mode():
        made = x + 0
    torch.testing.assert_close(
        calibrate(small_net(), [made]).layers["0"].mean, calibrate(small_net(), [x]).layers["0"].mean
    )


def test_convolutions_that_are_called_image_by_image(x):
    conv = nn.Conv2d(3, 4, 3)

    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv

        def forward(self, x):
            return torch.stack([self.conv(image) for image in x])

    assert cost(Loop(), x) == cost(conv, x)
    moments, right = calibrate(Loop(), [x], loss_aware=False), calibrate(nn.Sequential(conv), [x], loss_aware=False)
    assert moments.layers["conv"].rows > right.layers["0"].rows / 2
    torch.testing.assert_close(moments.layers["conv"].outputs, right.layers["0"].outputs)


class Squeezing(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3), keepdim=True).squeeze())


def test_a_last_batch_of_one_image_under_squeeze(x):
    net = Squeezing().eval()
    alone, kept = calibrate(net, [x[:3], x[3:]]).layers["head"], calibrate(net, [x]).layers["head"]
    torch.testing.assert_close(alone.inputs, kept.inputs)
    assert (alone.rows, alone.outputs.shape) == (4, (1, 5, 5))
    plan = make_plan(net, Budget(macs=0.7), example=x[:1])
    assert refit(compress(net, plan), net, [x[:3], x[3:]])(x).shape == (4, 5)
    assert prune_channels(net, 0.5, x[:1]).model(x).shape == (4, 5)


def test_a_layer_without_outputs_stays_dense(x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch's, of a layer without elements
        net = small_net(last=0)
    plan = make_plan(net, Budget(macs=0.9), ("svd",), example=x)
    assert plan.layers[-1].reason == "it has no weights"
    assert [*calibrate(net, [x], loss_aware=False).layers] == ["0", "2"]


def test_names_with_brackets(x):
    net = nn.Sequential()
    net.add_module("block[0] inputs", nn.Conv2d(3, 8, 3))
    net.add_module("[red]", nn.Conv2d(8, 8, 3))
    plan = make_plan(net, Budget(macs=0.7), example=x, stats=calibrate(net, [x], loss_aware=False))
    assert [row.name for row in plan.layers] == ["block[0] inputs", "[red]"]
    assert compress(net, plan)(x).shape == net(x).shape


PARAMETRISED = {
    "weight_norm": nn.utils.weight_norm,
    "parametrizations.weight_norm": nn.utils.parametrizations.weight_norm,
    "spectral_norm": nn.utils.spectral_norm,
    "parametrizations.spectral_norm": nn.utils.parametrizations.spectral_norm,
    "prune": lambda layer: nn.utils.prune.l1_unstructured(layer, "weight", 0.5),
}


@pytest.mark.parametrize("case", PARAMETRISED)
def test_weights_that_something_else_makes_are_neither_pruned_nor_binarised(case):
    net = small_net()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of the old norms
        PARAMETRISED[case](net[2])
    before = {key: tensor.clone() for key, tensor in net.state_dict().items()}
    uses = {
        "prune": [lambda: masks(net, 0.5), lambda: mask(net, {"2": torch.ones_like(net[2].weight)})],
        "binarise": [lambda: binarise(net)],
    }
    for done, calls in uses.items():
        for use in calls:
            sentence = f"^layers to {done} must be ones with a weight of their own, got 'parametrised ones: 2'$"
            with pytest.raises(ValueError, match=sentence):
                use()
    torch.testing.assert_close(dict(net.state_dict()), before)
    assert zeros(net)["2"] == (0.5 if case == "prune" else 0)
    assert [*masks(net, 0.5, kinds=nn.Linear)] == ["5"]
