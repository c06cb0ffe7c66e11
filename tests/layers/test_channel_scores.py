"""Which channels go, how many of each layer, and what is made up for them: by hand and by brute force."""

import copy
import itertools
from dataclasses import replace

import pytest
import torch
from networks import network
from torch import nn
from torch.nn.functional import cross_entropy

from layers import Budget, calibrate, compress, cost, make_plan, prune_channels, refit
from layers.calibration import Eigen, LayerStats
from layers.thinning import removal
from layers.thinning.coupled import Graph
from layers.thinning.importance import CHANNEL_SCORES, taylor
from layers.thinning.removal import removal_path
from layers.thinning.shares import multiple


def apart(a, b, x):
    """|a(x) - b(x)| / |b(x)|."""
    with torch.no_grad():
        return float((a(x) - b(x)).norm() / b(x).norm())


def redundant():
    """Six channels of which 0 and 1 say the same, and 2 and 3; 4 and 5 are smaller and say something of their own."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(4, 6, 1, bias=False), nn.Flatten(), nn.Linear(6 * 9, 5))
    with torch.no_grad():
        rows = torch.tensor([[1, 0, 0, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0.5, 0], [0, 0, 0, 0.5]])
        model[0].weight.copy_(rows[:, :, None, None])
    return model.eval(), torch.randn(4000, 4, 3, 3)


def test_the_loss_takes_what_others_know_and_the_refit_makes_up_for_it():
    model, x = redundant()
    stats = calibrate(model, [x])
    by_norm = prune_channels(model, 1 / 3, x, round=1).model
    by_loss = prune_channels(model, 1 / 3, x, score="loss", round=1, stats=stats).model
    small = model[0].weight[4:]
    assert not any(torch.equal(row, kept) for row in small for kept in by_norm[0].weight)
    assert all(any(torch.equal(row, kept) for kept in by_loss[0].weight) for row in small)
    assert apart(by_loss, model, x) > 0.1
    assert apart(refit(by_loss, model, [x]), model, torch.randn(50, 4, 3, 3)) < 0.02
    assert apart(refit(by_norm, model, [x]), model, x) > 0.02


class Paths(nn.Module):
    """Channels that a grouped convolution, a Linear layer with a bias and a sum read."""

    def __init__(self):
        super().__init__()
        self.first, self.again = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 1, bias=False)
        self.grouped, self.wide = nn.Conv2d(8, 4, 3, groups=2), nn.Linear(8 * 16, 5)
        self.last = nn.Linear(4 * 4, 5)

    def forward(self, x):
        y = self.first(x).relu()
        y = y + self.again(y)
        return self.wide(y.flatten(1)) + self.last(self.grouped(y).flatten(1))


@pytest.mark.parametrize("blocks", [1, 4])
def test_the_predicted_rise_is_that_of_the_best_change_of_what_reads_the_channels(blocks, monkeypatch):
    torch.manual_seed(0)
    model, x = Paths().eval(), torch.randn(400, 3, 4, 4)
    if blocks > 1:
        monkeypatch.setattr("layers.calibration.stats.WIDEST", 8 * 16 // blocks)
    monkeypatch.setattr(removal, "RIDGE", 1e-9)
    monkeypatch.setattr(removal, "shrinkage", lambda moment, rows: torch.zeros(1, dtype=torch.float64))
    stats = calibrate(model, [x])
    plain = {name: moments._replace(eigen=None) for name, moments in stats.layers.items()}  # C and G, as below
    stats = replace(stats, layers=plain)
    groups = Graph(copy.deepcopy(model), x[:1].clone()).coupled(nn.Module)
    coupled = next(one for one in groups if "grouped" in one.read)
    assert (coupled.units, coupled.repeats, len(coupled.read)) == (4, 2, 3)  # a channel of either group at once
    path = removal_path(coupled, model, stats)
    assert sorted(path.order) == [0, 1, 2, 3]
    for units in itertools.combinations(range(4), 1):
        alone = sum(
            _rise(model.get_submodule(name), stats.layers[name], read, units) for name, read in coupled.read.items()
        )
        assert alone >= path.lost[1] * (1 - 1e-4)
    for count in (1, 2, 3, 4):
        rise = sum(
            _rise(model.get_submodule(name), stats.layers[name], read, path.order[:count])
            for name, read in coupled.read.items()
        )
        assert path.lost[count] == pytest.approx(rise, rel=1e-3)


def _rise(layer, moments, read, units):
    """min over D with D_S = -W_S of 1/2 tr(G D C D^T), by solving for the rest of each row."""
    groups, taps = getattr(layer, "groups", 1), layer.weight[0, 0].numel()
    weights = layer.weight.detach().double().flatten(1).unflatten(0, (groups, -1))
    total = 0.0
    for group, w in enumerate(weights):
        size = w.shape[1] // taps
        gone = [c % size * taps + t for u in units for c in read[u] if c // size == group for t in range(taps)]
        rest = [place for place in range(w.shape[1]) if place not in gone]
        c = torch.block_diag(*moments.inputs[group])
        if layer.bias is not None:
            mean = moments.mean[group].view(len(moments.inputs[group]), -1)
            c = c - torch.block_diag(*(m.outer(m) for m in mean))
        change = torch.zeros_like(w)
        change[:, gone] = -w[:, gone]
        if rest:
            change[:, rest] = w[:, gone] @ c[gone][:, rest] @ torch.linalg.pinv(c[rest][:, rest], rcond=1e-10)
        total += float((moments.outputs[group] @ change * (change @ c)).sum()) / 2
    return total


@pytest.mark.parametrize("labelled", [True, False])
def test_taylor_is_the_sum_of_weight_times_gradient_of_each_image(labelled):
    torch.manual_seed(0)
    model, x = (
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 3)).eval(),
        torch.randn(5, 2, 4, 4),
    )
    labels = torch.tensor([0, 2, 1, 1, 0])
    got = taylor(model, [(x, labels)] if labelled else [x], 0)
    if not labelled:  # as calibrate draws them
        labels = torch.multinomial(model(x).softmax(1).detach(), 1, generator=torch.Generator().manual_seed(0))[:, 0]
    wanted = torch.zeros(4)
    for image, label in zip(x, labels):
        model.zero_grad()
        cross_entropy(model(image[None]), label[None]).backward()
        conv = model[0]
        wanted += ((conv.weight * conv.weight.grad).sum((1, 2, 3)) + conv.bias * conv.bias.grad).abs().detach() / 5
    torch.testing.assert_close(got["0"].float(), wanted)


@pytest.mark.parametrize(("width", "step"), [(256, 16), (64, 16), (63, 8), (32, 8), (16, 4), (10, 2), (6, 1), (1, 1)])
def test_widths_are_multiples_where_layers_are_wide(width, step):
    assert multiple(width, 16) == step
    assert multiple(width, 1) == 1
    model = nn.Sequential(nn.Conv2d(1, width, 1), nn.Flatten(), nn.Linear(width, 3))
    left = prune_channels(model, 0.4, torch.ones(1, 1, 1, 1)).model[0].out_channels if width > 1 else step
    assert left % step == 0
    assert abs(left - 0.6 * width) <= max(1, step / 2 + 1)


@pytest.mark.parametrize(("name", "score"), [("resnet20", "l2"), *(("densenet", s) for s in CHANNEL_SCORES)])
def test_a_budget_of_multiplications_is_kept_and_spent(name, score):
    model, x = network(name)
    if score in ("taylor", "loss"):
        x = torch.randn(16, 3, 32, 32)
    stats = calibrate(model, [x]) if score == "loss" else None
    thin = prune_channels(model, None, x, macs=0.6, score=score, stats=stats, batches=[x]).model
    assert 0.5 < cost(thin, x[:1]).macs / cost(model, x[:1]).macs <= 0.6
    assert thin(x).shape == model(x).shape


def test_the_budget_goes_where_it_costs_least():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    with torch.no_grad():
        model[2].weight[:8] = 0  # half of what the second layer puts out says nothing
        model[2].bias[:8] = 0
    x = torch.randn(300, 8)
    thin = prune_channels(model, None, x, macs=0.65, score="loss", round=1, stats=calibrate(model, [x])).model
    assert (thin[0].out_features, thin[2].out_features) == (16, 8)
    assert apart(thin, model, x) < 1e-5


@pytest.mark.parametrize("name", ["densenet", pytest.param("mobilenet_v3_small", marks=pytest.mark.slow)])
def test_every_network_is_refitted_and_comes_nearer(name):
    model, _ = network(name)
    x = torch.randn(48, 3, 32, 32)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    thin = prune_channels(model, 0.25, x, score="l2").model
    again = refit(thin, model, x.split(16))
    assert apart(again, model, x) < apart(thin, model, x)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert {key: value.shape for key, value in again.state_dict().items()} == {
        key: value.shape for key, value in thin.state_dict().items()
    }


def test_what_was_thinned_twice_is_refitted_to_either():
    model, x = redundant()
    once = refit(prune_channels(model, 1 / 6, x, score="loss", round=1, stats=calibrate(model, [x])).model, model, [x])
    twice = prune_channels(once, 1 / 5, x, score="loss", round=1, stats=calibrate(once, [x])).model
    assert twice[0].out_channels == 4
    for dense in (once, model):
        assert apart(refit(twice, dense, [x]), model, x) < 0.03
    plan = make_plan(once, Budget(params=0.8), ("svd",), example=x[:1])
    assert torch.equal(
        refit(compress(once, plan), once, [x])[0].weight, once[0].weight
    )  # nothing thinner: factors alone


REFUSED = {
    "both": ({"fraction": 0.5, "macs": 0.5}, "fraction and macs must be one of them, and the other None"),
    "neither": ({"fraction": None}, "fraction and macs must be one of them"),
    "no share": ({"fraction": None, "macs": 0.0}, "macs must be above 0 and at most 1, got 0.0"),
    "too little": ({"fraction": None, "macs": 0.01}, "macs must be at least 0.250: then each layer has the fewest"),
    "score": ({"score": "best"}, "score must be one of l1, l2, taylor, loss, got 'best'"),
    "round": ({"round": 0}, "round must be an integer from 1, got 0"),
    "no stats": ({"score": "loss"}, "stats for score loss must be what calibrate"),
    "no images": ({"score": "taylor"}, "batches for score taylor must be images, or"),
    "no batch": ({"score": "taylor", "batches": []}, "batches must be at least one batch of images, got 'none'"),
    "nothing": ({"fraction": 0.01}, "large enough to leave a layer another multiple"),
}


@pytest.mark.parametrize("which", REFUSED)
def test_what_cannot_be_meant_is_refused_in_a_sentence(which):
    given, words = REFUSED[which]
    model = nn.Sequential(nn.Conv2d(1, 16, 3), nn.Flatten(), nn.Linear(64, 3))
    with pytest.raises(ValueError, match=words):
        prune_channels(model, **{"fraction": 0.5, "example": torch.ones(2, 1, 4, 4), **given})


def test_moments_of_another_network_or_of_too_few_layers_are_refused():
    model, x = redundant()
    stats = calibrate(model, [x])
    with pytest.raises(ValueError, match="stats must be of this network"):
        prune_channels(network("lenet")[0], 0.5, torch.ones(1, 1, 32, 32), score="loss", stats=stats)
    few = type(stats)({}, stats.images, loss_aware=True)
    with pytest.raises(
        ValueError, match=r"stats for score loss must be of every layer that reads .* layer '2', Linear"
    ):
        prune_channels(model, 0.5, x, score="loss", stats=few)


def test_a_thin_network_from_elsewhere_is_not_refitted():
    model, x = redundant()
    thin = prune_channels(model, 1 / 3, x).model
    del thin.outputs_left_of_layers  # as a checkpoint reads it
    with pytest.raises(ValueError, match="small must be with 6, as prune_channels left it"):
        refit(thin, model, [x])


def test_batchnorm_takes_the_mean_that_a_thinner_layer_cannot():
    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 6, 3, bias=False)]
    model = nn.Sequential(*parts, nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 4, 4))
    x = torch.randn(600, 3, 6, 6)
    for layer in (model[1], model[4]):
        nn.init.normal_(layer.bias)
    model(x)  # statistics that are its own
    model.eval()
    stats = calibrate(model, [x])
    thin = prune_channels(model, 0.5, x, score="loss", round=1, stats=stats).model
    assert thin[4].num_features == 3
    with_norm, without = (refit(thin, model, [x], stats=s, held_out=0) for s in (stats, None))
    assert torch.equal(without[4].running_mean, thin[4].running_mean)
    assert not torch.equal(with_norm[4].running_mean, thin[4].running_mean)
    assert apart(with_norm, model, x) < apart(without, model, x)


def test_gradients_of_single_images_say_how_much_an_output_counts():
    model, x = redundant()
    moments = calibrate(model, [x], loss_aware=False).layers["2"]
    g = torch.tensor([[[2.0, 1.0], [1.0, 3.0]]], dtype=torch.float64)
    basis = torch.linalg.eigh(g)
    c = moments.inputs[0, 0] - moments.mean[0].outer(moments.mean[0])
    left, right = basis.eigenvectors, torch.linalg.eigh(c)
    values = basis.eigenvalues[:, :, None] * right.eigenvalues
    known = moments._replace(outputs=g, eigen=Eigen(left, right.eigenvectors[None, None], 4 * values, 9))
    torch.testing.assert_close(removal._gradients(nn.Linear(54, 2), known), 4 * g)


@pytest.mark.parametrize(("bias", "norm"), [(True, ""), (False, "norm"), (False, "")])
def test_eigenvalues_give_the_gradients_whoever_takes_the_mean(bias, norm):
    """lambda_ij = e_i c_j of inputs less their mean, where a bias or BatchNorm takes that, says again what G is."""
    generator = torch.Generator().manual_seed(0)
    layer = nn.Linear(6, 4, bias=bias).double()
    x, d = (torch.randn(500, n, generator=generator, dtype=torch.float64) for n in (6, 4))
    x = x + 3
    mean, inputs, outputs = x.mean(0), x.mT @ x / 500, d.mT @ d / 500
    seen = inputs - mean[:, None] * mean if bias or norm else inputs
    (e, left), (c, right) = map(torch.linalg.eigh, (outputs, seen))
    eigen = Eigen(left[None], right[None, None], (e[:, None] * c)[None], 100)
    moments = LayerStats(inputs[None, None], mean[None], torch.eye(4, dtype=torch.float64)[None], 500, eigen, norm)
    torch.testing.assert_close(removal._gradients(layer, moments)[0], outputs)
