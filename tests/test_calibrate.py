"""Second moments: those of patches by unfold, those of gradients by one backward pass per image."""

import copy
import socket

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from layers import calibrate
from layers.moments import draw as draw_positions
from layers.moments import inputs_at, outputs_at, second_moment


@st.composite
def convolutions(draw):
    """(a Conv2d of any geometry, an input), in float64."""
    torch.manual_seed(draw(st.integers(0, 2**31)))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    groups, inside, outside = draw(st.sampled_from([(1, 3, 4), (2, 2, 3), (4, 1, 1), (3, 1, 2)]))
    same = draw(st.booleans())
    layer = nn.Conv2d(
        groups * inside,
        groups * outside,
        draw(pair),
        stride=1 if same else draw(pair),
        padding="same" if same else draw(st.tuples(st.integers(0, 2), st.integers(0, 2))),
        dilation=draw(st.integers(1, 2)),
        groups=groups,
        bias=False,
        padding_mode=draw(st.sampled_from(["zeros", "reflect", "replicate", "circular"])),
        dtype=torch.float64,
    )
    return layer, torch.randn(2, groups * inside, 9, 8, dtype=torch.float64)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@given(convolutions(), st.integers(1, 100))
def test_rows_of_outputs_are_rows_of_inputs_times_the_weight(case, most):
    layer, x = case
    y = layer(x)
    where = draw_positions(y, most, torch.Generator().manual_seed(0))
    rows, out = inputs_at(layer, x, where), outputs_at(y, where, layer.groups)
    assert out.shape == (layer.groups, 2 * min(most, y[0, 0].numel()), layer.out_channels // layer.groups)
    w = layer.weight.flatten(1).unflatten(0, (layer.groups, -1))
    torch.testing.assert_close(rows @ w.mT, out)


@pytest.mark.parametrize("shape", [(5, 6), (2, 3, 6), (2, 3, 4, 6)])
def test_rows_of_a_linear_layer(shape):
    layer, x = nn.Linear(6, 4, bias=False), torch.randn(shape)
    y = layer(x)
    where = draw_positions(y.movedim(-1, 1) if x.ndim == 5 else y, 9, torch.Generator()) if x.ndim != 4 else None
    torch.testing.assert_close(inputs_at(layer, x, where) @ layer.weight.mT, outputs_at(y, where, 1))


def test_positions_are_different_and_drawn_from_the_seed():
    y = torch.zeros(1, 1, 5, 7)
    a, b, c = (draw_positions(y, 20, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert len(set(zip(a.rows.tolist(), a.columns.tolist()))) == 20
    assert a.rows.max() < 5 <= a.columns.max() < 7
    assert torch.equal(a.columns, b.columns)
    assert not torch.equal(a.columns, c.columns)


def test_a_large_mean_costs_the_covariance_no_digits():
    torch.manual_seed(0)
    a, b = 1000 + torch.randn(1, 400, 3), torch.randn(1, 400, 2) - 500
    exact = a[0].double().T @ b[0].double()
    assert (second_moment(a, b)[0] - exact).abs().max() < 1e-3  # of 2e8; in float32 the products alone err by 10
    m = a[0].double().mean(0)
    torch.testing.assert_close(
        second_moment(a)[0] / 400 - m[:, None] * m, a[0].double().T.cov(correction=0), rtol=1e-5, atol=1e-6
    )


class Net(nn.Module):
    """Grouped, strided, a bias or none, a Linear over the last axis: small enough that all positions are used."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1, stride=2, dtype=torch.float64)
        self.second = nn.Conv2d(4, 6, 2, groups=2, bias=False, dtype=torch.float64)
        self.act = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.last = nn.Linear(6, 3, dtype=torch.float64)

    def forward(self, x):
        x = self.act(self.first(x))
        x = self.act(self.second(x))
        return self.last(self.drop(x.mean((2, 3))))


LAYERS = {"first": (2, 1), "second": (4, 2), "last": (6, 1)}  # -> inputs, groups


@pytest.fixture
def net():
    torch.manual_seed(1)
    return Net()


@pytest.fixture
def images():
    torch.manual_seed(2)
    return torch.randn(6, 2, 6, 3, dtype=torch.float64)


@pytest.fixture
def labels(monkeypatch):
    """The drawn labels, as they are drawn."""
    seen, multinomial = [], torch.multinomial

    def keep(*args, **options):
        seen.append(multinomial(*args, **options))
        return seen[-1]

    monkeypatch.setattr(torch, "multinomial", keep)
    return seen


def recorded(net, images):
    """Input and output of every layer, the outputs with gradients, and the scores."""
    found, hooks, net = {}, [], copy.deepcopy(net)
    net.act.inplace = False  # it would replace the outputs
    for name in LAYERS:

        def keep(_, args, y, name=name):
            found[name] = args[0].detach().clone(), y

        hooks.append(net.get_submodule(name).register_forward_hook(keep))
    scores = net.eval()(images)
    for hook in hooks:
        hook.remove()
    return found, scores


def test_inputs_are_the_moments_of_unfolded_patches(net, images):
    stats = calibrate(net, images.split(4))
    assert stats.images == 6
    assert stats.loss_aware
    for name, (x, _) in recorded(net, images)[0].items():
        layer, groups = net.get_submodule(name), LAYERS[name][1]
        rows = x[:, :, None]
        if x.ndim == 4:
            rows = nn.functional.unfold(x, layer.kernel_size, padding=layer.padding, stride=layer.stride)
        rows = rows.mT.flatten(0, 1).unflatten(1, (groups, -1)).transpose(0, 1)
        seen = stats.layers[name]
        assert seen.rows == rows.shape[1]
        torch.testing.assert_close(seen.inputs, (rows.mT @ rows / rows.shape[1])[:, None])
        torch.testing.assert_close(seen.mean, rows.mean(1))


def test_outputs_are_the_moments_of_each_images_own_gradient(net, images, labels):
    stats = calibrate(net, images.split(4))
    drawn, wanted = torch.cat(labels)[:, 0], {}
    for image, label in zip(images, drawn):
        found, scores = recorded(net, image[None])
        loss = nn.functional.cross_entropy(scores, label[None])
        gradients = torch.autograd.grad(loss, [y for _, y in found.values()])
        for name, gradient in zip(found, gradients):
            d = gradient.flatten(2).mT[0] if gradient.ndim == 4 else gradient
            d = d.unflatten(1, (LAYERS[name][1], -1)).transpose(0, 1)
            wanted[name] = wanted.get(name, 0) + d.mT @ d / len(images)
    for name in LAYERS:
        torch.testing.assert_close(stats.layers[name].outputs, wanted[name])


def test_gradients_at_drawn_positions_are_unbiased(labels):
    """On a map of constants every position has the same gradient, so a part of them says all."""
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 3)).double()
    stats = calibrate(net, [torch.ones(3, 1, 20, 20, dtype=torch.float64)])
    x = (
        torch.ones(3, 2, dtype=torch.float64, requires_grad=True) * net[0].bias.detach()
        + net[0].weight.flatten().detach()
    )
    (d,) = torch.autograd.grad(nn.functional.cross_entropy(net[3](x), labels[0][:, 0], reduction="sum"), x)
    torch.testing.assert_close(stats.layers["0"].outputs[0], d.T @ d / 3 / 400)  # 400 positions of 1/400^2 each


def most_likely(p, *_, **options):
    """Labels that do not depend on how the images are split."""
    return p.argmax(1, keepdim=True)


def assert_same(a, b):
    assert (a.images, a.layers.keys()) == (b.images, b.layers.keys())
    for name, seen in a.layers.items():
        assert seen.rows == b.layers[name].rows
        torch.testing.assert_close(seen[:3], b.layers[name][:3])


@pytest.mark.parametrize("loss_aware", [True, False])
def test_batches_of_any_size_give_the_same(net, images, loss_aware, monkeypatch):
    monkeypatch.setattr(torch, "multinomial", most_likely)
    whole = calibrate(net, [images], loss_aware)
    for size in (1, 4):
        assert_same(calibrate(net, images.split(size), loss_aware), whole)
    assert_same(calibrate(net, [(images, torch.zeros(6))], loss_aware), whole)  # labels are not read


def test_the_seed_decides(net, images):
    a, b, c = (calibrate(net, [images], seed=seed).layers["last"].outputs for seed in (0, 0, 5))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def _half(rank, port, path):
    torch.set_num_threads(1)
    torch.multinomial = most_likely
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", world_size=2, rank=rank)
    torch.manual_seed(1)
    net = Net()
    torch.manual_seed(2)
    images = torch.randn(6, 2, 6, 3, dtype=torch.float64)
    stats = calibrate(net, [images[:2], images[2:4]] if rank == 0 else [images[4:]])
    torch.save([(name, *seen) for name, seen in stats.layers.items()], f"{path}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_with_parts_equal_one_with_all(net, images, tmp_path, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(_half, (port, str(tmp_path)), nprocs=2)
    monkeypatch.setattr(torch, "multinomial", most_likely)
    whole = calibrate(net, [images])
    for rank in range(2):
        for name, *moments, rows in torch.load(tmp_path / f"{rank}.pt", weights_only=True):
            assert rows == whole.layers[name].rows
            torch.testing.assert_close(tuple(moments), whole.layers[name][:3])


def test_wide_layers_are_kept_in_blocks_of_whole_channels(net, images, monkeypatch):
    whole = calibrate(net, [images])
    monkeypatch.setattr("layers.stats.WIDEST", 9)
    parts = calibrate(net, [images])
    assert {name: s.inputs.shape for name, s in parts.layers.items()} == {
        "first": (1, 2, 9, 9),
        "second": (2, 1, 8, 8),
        "last": (1, 1, 6, 6),
    }
    for half in range(2):
        block = slice(9 * half, 9 * half + 9)
        torch.testing.assert_close(
            parts.layers["first"].inputs[:, half], whole.layers["first"].inputs[:, 0, block, block]
        )
    monkeypatch.setattr("layers.stats.WIDEST", 4)
    assert calibrate(net, [images]).layers["last"].inputs.shape == (1, 2, 3, 3)
    assert calibrate(net, [images]).layers["first"].inputs.shape == (1, 2, 9, 9)  # one channel is never split


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
        calibrate(net, [torch.zeros(1, 7, 6, 6)], loss_aware)
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
        calibrate(net, [images])


def test_a_layer_that_runs_twice_is_summed_over_both(images):
    layer = nn.Linear(3, 3, bias=False, dtype=torch.float64)
    x = images.flatten(1)[:, :3]
    seen = calibrate(nn.Sequential(layer, layer), [x]).layers
    rows = torch.cat([x, layer(x).detach()])
    assert list(seen) == ["0"]
    torch.testing.assert_close(seen["0"].inputs[0, 0], rows.T @ rows / len(rows))


def test_a_layer_that_never_runs_has_no_moments(net, images):
    net.idle = nn.Linear(3, 3)
    assert list(calibrate(net, [images]).layers) == [*LAYERS]


REFUSED = {
    "no batch": ([], True, "batches must be at least one batch of images, got 'none'"),
    "an empty batch": ([torch.zeros(0, 2, 6, 6)], True, r"batch must be a tensor of images \(n, ...\), got 'Tensor'"),
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
        ValueError, match=r"the network's output must be scores .* pass loss_aware=False, got \[6, 4, 4, 1\]"
    ):
        calibrate(nn.Conv2d(2, 4, 3, dtype=torch.float64), [images])


@pytest.mark.parametrize("kind", ["single", "constant", "zero"])
@pytest.mark.parametrize("loss_aware", [True, False])
def test_one_image_and_constant_ones_are_no_reason_to_fail(net, images, kind, loss_aware):
    given = {"single": images[:1], "constant": torch.full_like(images, 3.7), "zero": torch.zeros_like(images)}[kind]
    for seen in calibrate(net, [given], loss_aware).layers.values():
        assert all(moment.isfinite().all() for moment in seen[:3])
