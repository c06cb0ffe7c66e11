"""calibrate: the moments of unfolded patches, and those of gradients by one backward pass per image."""

import copy
import gc
import sys
import weakref

import pytest
import torch
from grouped_net import LAYERS, seeded_images, seeded_net
from processes import free_port, two
from torch import nn

from layers import calibrate

module = sys.modules["layers.calibration.calibrate"]  # whose name the function has taken


@pytest.fixture
def net():
    return seeded_net()


@pytest.fixture
def images():
    return seeded_images()


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


def test_outputs_are_the_moments_of_each_images_own_gradient(net, images, labels, monkeypatch):
    monkeypatch.setattr(module, "WAITING", 0)
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
    p = net.eval()(images).softmax(1).detach()  # at the scores the mean over labels is known, and none is drawn
    wanted["last"] = (p.mean(0).diag() - p.T @ p / len(images))[None]
    for name in LAYERS:
        torch.testing.assert_close(stats.layers[name].outputs, wanted[name])


def test_gradients_at_drawn_positions_are_unbiased(labels, monkeypatch):
    """On a map of constants every position has the same gradient, so a part of them says all."""
    monkeypatch.setattr(module, "WAITING", 0)
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
    a, b, c = (calibrate(net, [images], seed=seed).layers["second"].outputs for seed in (0, 0, 5))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def _half(rank, port, path):
    torch.set_num_threads(1)
    torch.multinomial = most_likely
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", world_size=2, rank=rank)
    net, images = seeded_net(), seeded_images()
    stats = calibrate(net, [images[:2], images[2:4]] if rank == 0 else [images[4:]])
    seen = {name: (*moments[:4], tuple(moments.eigen)) for name, moments in stats.layers.items()}
    torch.save(seen, f"{path}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_with_parts_equal_one_with_all(net, images, tmp_path, monkeypatch):
    assert two(_half, free_port(), str(tmp_path)) == [0, 0]
    monkeypatch.setattr(torch, "multinomial", most_likely)
    whole = calibrate(net, [images])
    found = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    for name, seen in whole.layers.items():
        for *moments, rows, eigen in (each[name] for each in found):
            assert rows == seen.rows
            torch.testing.assert_close(tuple(moments), seen[:3])
            torch.testing.assert_close(eigen, found[0][name][-1], rtol=0, atol=0)  # the same in every process
            assert eigen[-1] == 3  # of 4 and 2 images


def test_nothing_of_a_batch_outlives_it(net, images):
    outputs = []
    for name in LAYERS:
        net.get_submodule(name).register_forward_hook(lambda _, args, y: outputs.append(weakref.ref(y)))
    calibrate(net, images.split(2))
    gc.collect()
    assert len(outputs) > len(LAYERS)
    assert not [output() for output in outputs if output() is not None]


def test_wide_layers_are_kept_in_blocks_of_whole_channels(net, images, monkeypatch):
    whole = calibrate(net, [images])
    monkeypatch.setattr("layers.calibration.stats.WIDEST", 9)
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
    monkeypatch.setattr("layers.calibration.stats.WIDEST", 4)
    assert calibrate(net, [images]).layers["last"].inputs.shape == (1, 2, 3, 3)
    assert calibrate(net, [images]).layers["first"].inputs.shape == (1, 2, 9, 9)  # one channel is never split


def test_a_layer_that_runs_twice_is_summed_over_both(images):
    layer = nn.Linear(3, 3, bias=False, dtype=torch.float64)
    x = images.flatten(1)[:, :3]
    seen = calibrate(nn.Sequential(layer, layer), [x]).layers
    rows = torch.cat([x, layer(x).detach()])
    assert list(seen) == ["0"]
    torch.testing.assert_close(seen["0"].inputs[0, 0], rows.T @ rows / len(rows))
