"""calibrate on what is no ordinary network or image: refused in a sentence, the network as it was before."""

import pytest
import torch
from grouped_net import LAYERS, seeded_images, seeded_net
from torch import nn

from layers import calibrate


@pytest.fixture
def net():
    return seeded_net()


@pytest.fixture
def images():
    return seeded_images()


def state(net):
    modes = [m.training for m in net.modules()]
    hooks = [len(m._forward_hooks) for m in net.modules()]
    wanted = [(p.requires_grad, p.grad) for p in net.parameters()]
    return modes, hooks, wanted, {key: t.clone() for key, t in net.state_dict().items()}


@pytest.mark.parametrize("loss_aware", [True, False])
def test_the_network_is_as_before_also_after_an_error(net, images, loss_aware):
    net.train()
    net.second.eval()
    net.first.bias.requires_grad_(False)
    before, grad = state(net), torch.is_grad_enabled()
    calibrate(net, [images], loss_aware)
    with pytest.raises(ValueError, match="must be finite"):
        calibrate(net, [images, images * torch.nan], loss_aware)
    with pytest.raises(RuntimeError):
        calibrate(net, [torch.zeros(1, 7, 6, 6).double()], loss_aware)
    torch.testing.assert_close(state(net), before)
    assert torch.is_grad_enabled() == grad
    assert not images.requires_grad


def test_without_the_loss_any_output_will_do_and_no_backward_pass_is_run(images, monkeypatch):
    class Pyramid(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(2, 4, 3, dtype=torch.float64)

        def forward(self, x):
            with torch.no_grad():
                y = self.conv(x)
            return {"fine": y, "coarse": y.mean()}

    monkeypatch.setattr(torch.autograd, "backward", None)
    net = Pyramid()
    seen = calibrate(net, [images], loss_aware=False).layers["conv"]
    power = net.conv(images).square().mean() * 4  # of all four outputs
    torch.testing.assert_close(seen.outputs, torch.eye(4, dtype=torch.float64)[None] / power.detach())
    with pytest.raises(ValueError, match="output of layer 'conv' must be differentiable, or pass loss_aware=False"):
        calibrate(net, [images], loss_aware=True)


def test_a_layer_that_never_runs_has_no_moments(net, images):
    net.idle = nn.Linear(3, 3)
    assert list(calibrate(net, [images]).layers) == [*LAYERS]


REFUSED = {
    "no batch": ([], True, "batches must be at least one batch of images, got 'none'"),
    "an empty batch": ([torch.zeros(0, 2, 6, 6)], True, r"batch must be a tensor of images \(n, ...\), at least one"),
    "a path": (["images/"], True, "batch must be a tensor of images"),
    "NaN": (
        [torch.full((2, 2, 6, 6), torch.nan).double()],
        True,
        "input of layer 'first' must be finite for every image",
    ),
    "NaN, no loss": ([torch.full((2, 2, 6, 6), torch.nan).double()], False, "input of layer 'first' must be finite"),
    "too large": (
        [torch.full((2, 2, 6, 6), 1e200, dtype=torch.float64)],
        False,
        "moments of layer 'first' must be finite",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_images_are_refused_in_a_sentence(net, case):
    batches, loss_aware, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence):
        calibrate(net, batches, loss_aware)


@pytest.mark.parametrize("loss_aware", [True, False])
def test_nan_activations_are_refused_wherever_they_arise(net, images, loss_aware):
    net.last.bias.data[0] = torch.nan
    with pytest.raises(ValueError, match="must be finite"):
        calibrate(net, [images], loss_aware)


def test_no_classifier_is_refused_in_a_sentence(images):
    with pytest.raises(
        ValueError, match=r"the network's output must be scores .* pass loss_aware=False, got \[3, 4, 4, 1\]"
    ):
        calibrate(nn.Conv2d(2, 4, 3, dtype=torch.float64), [images], loss_aware=True)


@pytest.mark.parametrize(
    ("spoil", "reason"), [(lambda y: y.mul_(2), "modified by an inplace"), (torch.detach, "does not require grad")]
)
def test_a_network_without_gradients_is_refused_in_a_sentence(spoil, reason):
    class Spoilt(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 4)

        def forward(self, x):
            y = self.layer(x).exp()
            z = y.exp()
            return z + spoil(y).sum() if reason.startswith("modified") else spoil(z)

    with pytest.raises(ValueError, match=f"the network must be differentiable, or pass loss_aware=False.*{reason}"):
        calibrate(Spoilt(), [torch.ones(2, 3)])
    assert calibrate(Spoilt(), [torch.ones(2, 3)], loss_aware=False).images == 2


@pytest.mark.parametrize("kind", ["single", "constant", "zero"])
@pytest.mark.parametrize("loss_aware", [True, False])
def test_one_image_and_constant_ones_are_no_reason_to_fail(net, images, kind, loss_aware):
    given = {"single": images[:1], "constant": torch.full_like(images, 3.7), "zero": torch.zeros_like(images)}[kind]
    for seen in calibrate(net, [given], loss_aware).layers.values():
        assert all(moment.isfinite().all() for moment in seen[:3])


class Answers(nn.Module):
    """A classifier that answers as it is told."""

    def __init__(self, form):
        super().__init__()
        self.conv, self.last, self.form = nn.Conv2d(2, 4, 3), nn.Linear(4, 5), form

    def forward(self, x):
        features = self.conv(x)
        return self.form(features, self.last(features.relu().mean((2, 3))))


FORMS = {
    "tuple": lambda features, scores: (scores, features),
    "tuple, features first": lambda features, scores: [features, scores],
    "dictionary": lambda features, scores: {"features": features.mean((2, 3)), "logits": scores},
    "nested": lambda features, scores: {"scores": scores, "more": {"features": features}},
}


@pytest.mark.parametrize("form", FORMS)
def test_scores_are_found_in_what_a_network_answers(form):
    torch.manual_seed(0)
    net, images = Answers(FORMS[form]), torch.randn(6, 2, 6, 6)
    seen = calibrate(net, iter([images]))
    net.form = lambda features, scores: scores
    plain = calibrate(net, [images], loss_aware=True)
    assert seen.loss_aware
    assert seen.images == 6
    for name in plain.layers:
        assert torch.equal(seen.layers[name].outputs, plain.layers[name].outputs)


def test_without_scores_every_output_counts_alike_and_a_warning_says_so():
    net, images = Answers(lambda features, scores: {"map": features}), torch.randn(6, 2, 6, 6)
    with pytest.warns(UserWarning, match=r"no class scores \(n, classes\) in what Answers answers: loss_aware=False"):
        seen = calibrate(net, [images])
    assert not seen.loss_aware
    assert torch.equal(seen.layers["conv"].outputs, calibrate(net, [images], False).layers["conv"].outputs)


@pytest.mark.parametrize("answered", ["words", None, {"size": 3}])
def test_a_network_that_returns_no_tensor_is_refused_in_a_sentence(answered):
    with pytest.raises(ValueError, match="the network's output must be a tensor, or a tuple or dictionary of tensors"):
        calibrate(Answers(lambda features, scores: answered), [torch.randn(6, 2, 6, 6)])
