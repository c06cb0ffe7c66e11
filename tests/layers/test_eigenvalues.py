"""Eigenvalues of the Fisher information: those of images' own gradients, of images that gave no eigenvector."""

import sys

import pytest
import torch
from grouped_net import LAYERS, seeded_images, seeded_net
from torch import nn

from layers import METHODS, Budget, calibrate, compress, make_plan
from layers.calibration.eigenvalues import Basis
from layers.calibration.reservoir import Reservoir
from layers.factored import compose, grouped_weight
from layers.fitting import Metric
from layers.planning.errors import PROBES, predicted_loss

module = sys.modules["layers.calibration.calibrate"]  # whose name the function has taken


def most_likely(p, *_, **options):
    """Labels that no draw changes."""
    return p.argmax(1, keepdim=True)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(6, 4, 3, groups=2), (6, 3, 3)),  # one position: inputs and gradients are turned
        (nn.Conv2d(6, 4, 3, padding=1, stride=2, bias=False), (6, 4, 4)),
        (nn.Conv2d(6, 4, 3, groups=2, dilation=2, padding=2, padding_mode="circular"), (6, 15, 15)),  # the gradient is
        (nn.Conv2d(4, 8, 3, groups=4), (4, 9, 8)),
        (nn.Linear(5, 3), (5,)),
        (nn.Linear(5, 3, bias=False), (40, 5)),
    ],
)
@pytest.mark.parametrize("numbers", [2**23, 1])
def test_squares_are_those_of_every_images_gradient(layer, shape, numbers, monkeypatch):
    monkeypatch.setattr("layers.calibration.eigenvalues.NUMBERS", numbers)
    torch.manual_seed(0)
    layer, x = layer.double(), torch.randn(5, *shape, dtype=torch.float64)
    y = layer(x)
    d, g, o, k = torch.randn_like(y), getattr(layer, "groups", 1), len(layer.weight), layer.weight[0].numel()
    u, v = (torch.linalg.qr(torch.randn(g, n, n).double()).Q for n in (o // g, k))
    mean = torch.zeros(g, 1, k).double() if layer.bias is None else torch.randn(g, 1, k).double()
    basis, wanted = Basis(u, v[:, None], mean), 0
    for image in range(5):
        (own,) = torch.autograd.grad(layer(x[image : image + 1]), layer.weight, d[image : image + 1])
        bias = d[image].flatten(1).sum(1) if x.ndim == 4 else d[image].reshape(-1, o).sum(0)
        own = own.reshape(g, o // g, k) - bias.reshape(g, -1, 1) * mean  # of a weight whose mean the bias takes away
        wanted = wanted + (u.mT @ own @ v).square()
    torch.testing.assert_close(basis.squares(layer, x, 5)(d), wanted)
    other = torch.randn_like(d)
    both = basis.squares(layer, x, 5)(other) + wanted
    torch.testing.assert_close(basis.squares(layer, x, 5)(d, other), both)


def test_patches_are_cut_out_once_for_all_labels_of_an_image(monkeypatch):
    from layers.calibration import eigenvalues

    patches, calls = eigenvalues.patches, []
    monkeypatch.setattr(eigenvalues, "patches", lambda layer, x: calls.append(layer) or patches(layer, x))
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3))
    calibrate(net, [torch.randn(10, 1, 8, 8)])
    assert calls == [net[0]]


def test_squares_survive_a_network_that_overwrites_its_inputs():
    layer, x, d = nn.Conv2d(2, 3, 1), torch.randn(4, 2, 5, 5), torch.randn(4, 3, 5, 5)
    basis = Basis(torch.eye(3)[None], torch.eye(2)[None, None], torch.zeros(1, 1, 2))
    before, squares = basis.squares(layer, x, 4)(d), basis.squares(layer, x, 4)
    x.zero_()
    torch.testing.assert_close(squares(d), before)


def test_at_the_scores_the_mean_over_labels_is_exact():
    torch.manual_seed(0)
    layer, x = nn.Linear(4, 3).double(), torch.randn(6, 4).double()
    u, v = (torch.linalg.qr(torch.randn(1, n, n).double()).Q for n in (3, 4))
    basis, p = Basis(u, v[:, None], torch.randn(1, 1, 4).double()), layer(x).softmax(1).detach()
    wanted = 0
    for label in range(3):
        d = p - nn.functional.one_hot(torch.full((6,), label), 3)
        each = (d @ u[0])[:, :, None] * ((x - basis.mean[0]) @ v[0])[:, None, :]
        wanted = wanted + (p[:, label, None, None] * each.square()).sum(0)
    torch.testing.assert_close(basis.expected(x[None], p)[0], wanted)


def test_eigenvalues_are_of_images_that_gave_no_eigenvector(monkeypatch):
    """The first of two images gives the eigenvectors, the other lambda."""
    monkeypatch.setattr(torch, "multinomial", most_likely)
    net, images = seeded_net().eval(), seeded_images()[:2]
    net.act.inplace = False
    stats = calibrate(net, [images])
    monkeypatch.setattr(module, "WAITING", 0)
    alone = calibrate(net, [images[:1]])
    loss = nn.functional.cross_entropy(net(images[1:]), net(images[1:]).argmax(1))
    for name, (_, groups) in LAYERS.items():
        seen, layer = stats.layers[name], net.get_submodule(name)
        assert seen.eigen.images == 1
        assert alone.layers[name].eigen is None
        moment, left = alone.layers[name].outputs, seen.eigen.outputs
        turned = left.mT @ moment @ left  # diagonal
        torch.testing.assert_close(turned, torch.diag_embed(turned.diagonal(dim1=1, dim2=2)), atol=1e-9, rtol=0)
        if name == "last":
            continue  # its labels are not drawn
        gradient = torch.autograd.grad(loss, layer.weight, retain_graph=True)[0].unflatten(0, (groups, -1)).flatten(2)
        if layer.bias is not None:
            bias = torch.autograd.grad(loss, layer.bias, retain_graph=True)[0].unflatten(0, (groups, -1))
            gradient = gradient - bias[:, :, None] * alone.layers[name].mean[:, None]
        torch.testing.assert_close((left.mT @ gradient @ seen.eigen.inputs[:, 0]).square(), seen.eigen.values)


@pytest.mark.parametrize("size", [1, 2, 6])
def test_images_may_come_once_and_one_by_one(size, monkeypatch):
    monkeypatch.setattr(torch, "multinomial", most_likely)
    net, images = seeded_net(), seeded_images()
    whole, once = calibrate(net, [images]), calibrate(net, (batch for batch in images.split(size)))
    for name, seen in whole.layers.items():
        torch.testing.assert_close(once.layers[name][:4], seen[:4])
        sums = (found.eigen.values.sum((1, 2)) for found in (once.layers[name], seen))  # in whatever eigenvectors
        torch.testing.assert_close(*sums)


def test_no_eigenvalues_without_the_loss_or_a_second_image():
    net, images = seeded_net(), seeded_images()
    assert all(seen.eigen is None for seen in calibrate(net, [images], loss_aware=False).layers.values())
    assert all(seen.eigen is None for seen in calibrate(net, [images[:1]]).layers.values())


@pytest.mark.parametrize("sizes", [[20] * 5, [1] * 100, [100]])
def test_a_reservoir_gives_every_image_once_and_holds_a_sample_of_all(sizes):
    reservoir, images = Reservoir(16, torch.Generator().manual_seed(0)), torch.arange(100.0)[:, None].expand(-1, 3)
    passed = [part for batch in images.split(sizes) for part in reservoir.pass_on(batch)]
    held = torch.cat(list(reservoir.batches()))[:, 0]
    assert sorted(torch.cat([*(part[:, 0] for part in passed), held]).tolist()) == list(range(100))
    assert len(held) == 16
    assert held.max() > 60
    assert held.min() < 30


def test_a_reservoir_keeps_images_of_other_sizes_apart():
    reservoir = Reservoir(2, torch.Generator().manual_seed(0))
    batches = [torch.zeros(3, 1, n, n) for n in (2, 3, 4, 5)]
    passed = [
        tuple(part.shape[1:]) for batch in batches for image in reservoir.pass_on(batch) for part in image[:, None]
    ]
    held = [tuple(image.shape) for batch in reservoir.batches() for image in batch]
    assert sorted(passed + held) == sorted((1, n, n) for n in (2, 3, 4, 5) for _ in range(3))


def pooled(channels=8, positions=7):
    """A layer before a global pooling, where a change that is alike at all positions adds up."""
    torch.manual_seed(0)
    layer = nn.Conv2d(channels, 12, 3, padding=1)
    net = nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5))
    mix = torch.randn(channels, channels)
    images = torch.einsum("nchw,cd->ndhw", torch.randn(400, channels, 1, 1).expand(-1, -1, positions, positions), mix)
    return net.eval(), images + 0.2 * torch.randn(400, channels, positions, positions)


@pytest.mark.parametrize("rank", [2, 5])
def test_before_a_pooling_the_rise_of_the_loss_is_foreseen(rank):
    net, images = pooled()
    stats, few = calibrate(net, [images[:300]]), images[300:]
    alone = type(stats)({n: s._replace(eigen=None) for n, s in stats.layers.items()}, stats.images, True)
    small = compress(net, make_plan(net, Budget(macs=0.9), ("svd",), example=few[:1], stats=stats), stats=stats)
    layer = net[0]
    small[0] = METHODS["svd"].build(layer, {"rank": rank}, Metric.of(layer, stats.layers["0"]))
    lost = grouped_weight(layer) - compose([part.weight.detach().double() for part in small[0]], [1, 1])
    foreseen, without = (float(Metric.of(layer, s.layers["0"]).loss(lost)) for s in (stats, alone))
    small[4] = net[4]
    with torch.no_grad():
        p, log_q = net(few).softmax(1), small(few).log_softmax(1)
        rise = float((p * (p.log() - log_q)).sum(1).mean())
    assert rise / 1.5 < foreseen < 1.5 * rise
    assert without < rise / 2


@pytest.mark.parametrize("kernel", ["svd", "spatial", "tucker", "cp", "ht"])
def test_what_is_foreseen_is_what_is_built(kernel):
    net, images = pooled()
    layer, seen = net[0].double(), calibrate(net.double(), [images.double()]).layers["0"]
    metric = Metric.of(layer, seen)
    judged = predicted_loss(METHODS[kernel], layer, metric, 1)
    for share in PROBES:
        form = judged[round(share * (len(judged) - 1))]
        built = METHODS[kernel].build(layer, form.spec, metric)
        parts = [part.weight.detach().double() for part in built]
        lost = grouped_weight(layer) - compose(parts, [part.groups for part in built])
        assert float(metric.loss(lost)) < 1.1 * form.error


def test_a_layer_whose_eigenvectors_take_too_long_goes_by_its_moments(monkeypatch):
    monkeypatch.setattr(sys.modules["layers.calibration.calibrate"], "MOST_ROWS", 27)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.Flatten(), nn.Linear(20, 3))
    wide = {name: seen.eigen is None for name, seen in calibrate(net, [torch.randn(6, 3, 6, 6)]).layers.items()}
    assert wide == {"0": False, "2": True, "4": False}


def test_few_images_leave_the_eigenvalues_to_the_moments():
    """Of no image lambda is what C and G foresee; of very many it is its own."""
    net, images = pooled()
    layer, seen = net[0], calibrate(net, [images]).layers["0"]
    change, moments = torch.randn(1, 12, 8, 3, 3).double(), Metric.of(layer, seen._replace(eigen=None))
    none, all_, many = (
        Metric.of(layer, seen._replace(eigen=seen.eigen._replace(images=n))) for n in (0, seen.eigen.images, 10**9)
    )
    size = float(none.fitted(change) / moments.loss(change))
    assert size > 2  # what adds up in the pooling
    other = torch.randn(1, 12, 8, 3, 3).double()
    assert float(none.loss(other) / moments.loss(other)) == pytest.approx(size, rel=0.2)
    torch.testing.assert_close(many.eigen.values, seen.eigen.values.double(), rtol=1e-3, atol=1e-9)
    assert min(none.loss(change), many.loss(change)) <= all_.loss(change) <= max(none.loss(change), many.loss(change))


def test_moments_on_which_float32_gives_up_are_taken_apart_in_float64(monkeypatch):
    from layers.calibration import eigenvalues

    moment, eigh, tried = torch.eye(eigenvalues.WIDE, dtype=torch.float64), torch.linalg.eigh, []

    def stubborn(matrix):
        tried.append(matrix.dtype)
        if matrix.dtype == torch.float32:
            raise torch.linalg.LinAlgError("did not converge")
        return eigh(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", stubborn)
    vectors = eigenvalues._eigenvectors(moment, torch.float32)
    assert tried == [torch.float32, torch.float64]
    torch.testing.assert_close(vectors @ vectors.mT, torch.eye(eigenvalues.WIDE))
