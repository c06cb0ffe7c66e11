"""Refit: nearer to the dense network, without a gradient and without touching what was given."""

import copy
import re
import tempfile
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from experiments.lab.models.lenet import LeNet
from layers import Budget, Cost, Plan, calibrate, compress, make_plan, refit
from layers.fitting.held_out import set_aside
from layers.planning import LayerPlan
from layers.thinning import masks

NONE = Cost(0, 0, 0)


def planned(**layers):
    """A plan by hand: layer = (kernel, spec)."""
    rows = [LayerPlan(name.replace("_", "."), kernel, spec, NONE, NONE, 0.0) for name, (kernel, spec) in layers.items()]
    return Plan(tuple(rows), Budget(macs=0.5), "by hand", NONE, NONE)


def tensors(net):
    return {key: value.clone() for key, value in net.state_dict().items()}


def apart(a, b, x):
    """|a(x) - b(x)| / |b(x)|."""
    with torch.no_grad():
        dense = b.eval()(x)
        return float((a.eval()(x) - dense).norm() / dense.norm())


class Linear(nn.Module):
    """No activation; the second layer's input has rank 2 in 6 channels, so rank 2 of its weight is all that counts."""

    def __init__(self, bias=True):
        super().__init__()
        self.first = nn.Conv2d(2, 6, 1, bias=bias)
        self.second = nn.Conv2d(6, 6, 1, bias=bias)
        self.third = nn.Conv2d(6, 5, 3, bias=bias)

    def forward(self, x):
        return self.third(self.second(self.first(x)))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("aware", [True, False])
def test_a_linear_path_of_enough_rank_is_recovered(bias, aware):
    torch.manual_seed(0)
    model, batches = Linear(bias).double(), list(torch.randn(6, 8, 2, 5, 5).double())
    small = compress(model, planned(second=("svd", {"rank": 2}), third=("tucker", {"ranks": [5, 2]})))
    assert apart(small, model, batches[0]) > 0.1
    stats = calibrate(model, batches, loss_aware=False) if aware else None
    again = refit(small, model, batches, stats=stats)
    assert apart(again, model, torch.randn(4, 2, 5, 5).double()) < 0.01  # what ridge and shrinkage leave


@pytest.mark.parametrize("name", ["conv", "linear"])
def test_an_activation_in_place_does_not_change_what_is_fitted(name):
    torch.manual_seed(0)
    layer = nn.Conv2d(6, 4, 1) if name == "conv" else nn.Linear(6, 4)
    size = (60, 6, 3, 3) if name == "conv" else (400, 6)
    model = nn.Sequential(layer, nn.ReLU(inplace=True)).double()
    again, same = (
        refit(compress(model, planned(**{"0": ("svd", {"rank": 4})})), net, [torch.randn(size).double()])
        for net in (model, nn.Sequential(layer, nn.ReLU()))
    )
    assert apart(again, model, torch.randn(size).double()) < 1e-6
    assert apart(same, model, torch.randn(size).double()) < 1e-6


@pytest.fixture(scope="module")
def digits():
    """(a LeNet of a few steps on noisy digits that are blobs, its images): trained enough to have spectra."""
    torch.manual_seed(0)
    labels = torch.randint(0, 10, (256,))
    centres = torch.nn.functional.interpolate(torch.randn(10, 1, 8, 8), 32)
    images, model = centres[labels] + 0.5 * torch.randn(256, 1, 32, 32), LeNet()
    solver = torch.optim.Adam(model.parameters(), 2e-3)
    for batch, label in zip(images.split(32), labels.split(32)):
        solver.zero_grad()
        torch.nn.functional.cross_entropy(model(batch), label).backward()
        solver.step()
    return model, images


KERNELS = [("svd",), ("spatial", "svd"), ("tucker", "svd"), ("cp", "svd"), ("ht", "svd")]


@pytest.mark.parametrize("kernels", KERNELS, ids=lambda kernels: kernels[0])
@pytest.mark.parametrize("aware", [True, False])
def test_the_networks_outputs_come_nearer(digits, kernels, aware):
    model, images = digits
    stats = calibrate(model, images[:128].split(32), loss_aware=aware)
    small = compress(model, make_plan(model, Budget(macs=0.35), kernels, example=images[:1], stats=stats), stats=stats)
    kept = tensors(small), tensors(model), images.clone()
    modes = [m.training for m in [*small.modules(), *model.modules()]]
    again = refit(small, model, [(batch, None) for batch in images[:128].split(32)], stats=stats)
    torch.testing.assert_close((tensors(small), tensors(model), images), kept, rtol=0, atol=0)
    assert [m.training for m in [*small.modules(), *model.modules()]] == modes
    assert [m.training for m in again.modules()] == [m.training for m in small.modules()]
    assert all(p.requires_grad for p in again.parameters())
    assert apart(again, model, images[128:]) < apart(small, model, images[128:])  # on images that were not seen


def test_wide_layers_are_refitted_in_their_last_factor(digits, monkeypatch):
    model, images = digits
    monkeypatch.setattr("layers.calibration.stats.WIDEST", 200)
    layer = next(name for name, m in model.named_modules() if isinstance(m, nn.Linear) and m.in_features > 200)
    stats = calibrate(model, images[:128].split(32))
    small = compress(model, planned(**{layer: ("svd", {"rank": 4})}), stats=stats)
    again = refit(small, model, images[:128].split(32), stats=stats, held_out=0)
    before, after = small.get_submodule(layer), again.get_submodule(layer)
    assert torch.equal(before[0].weight, after[0].weight)
    assert not torch.equal(before[1].weight, after[1].weight)
    assert apart(again, model, images[:128]) < apart(small, model, images[:128])


@pytest.mark.parametrize("groups", [1, 2])
def test_what_is_left_under_a_mask_is_the_least_squares_solution_on_it(groups):
    torch.manual_seed(0)
    mix = torch.randn(6, 6, dtype=torch.float64)  # inputs that know of one another
    model = nn.Sequential(nn.Conv2d(6, 4, 1, groups=groups)).double()
    images = torch.einsum("ij,njhw->nihw", mix, torch.randn(4000, 6, 1, 1, dtype=torch.float64))
    chosen = masks(model, 0.5)
    small = copy.deepcopy(model)
    small[0].weight.data *= chosen["0"]
    again = refit(small, model, images.split(500), masks=chosen, held_out=0)
    rows, wanted = images.flatten(1) - images.flatten(1).mean(0), model[0].weight.detach().flatten(1)
    for output, (kept, fitted) in enumerate(zip(chosen["0"].flatten(1) != 0, again[0].weight.detach().flatten(1))):
        mine = rows[:, (6 // groups) * (output * groups // 4) :][:, : 6 // groups]
        best = torch.linalg.lstsq(mine[:, kept], mine @ wanted[output]).solution
        torch.testing.assert_close(fitted[kept], best, rtol=0.02, atol=0.005)  # the ridge, and positions drawn
        assert not fitted[~kept].any()
    assert apart(again, model, images) < apart(small, model, images)


@pytest.mark.parametrize(
    ("name", "shape", "words"),
    [
        ("1", (4, 6), "mask of layer '1' must be of a plain Conv2d or Linear layer of small, got"),
        ("0", (6, 4), "mask of layer '0' must be of the shape of its weight, "),
        ("0", (4, 6), "weight of layer '0' must be zero where the mask is, got 'numbers under its mask'"),
    ],
)
def test_a_mask_of_another_network_is_refused(name, shape, words):
    model = nn.Sequential(nn.Linear(6, 4))
    with pytest.raises(ValueError, match=re.escape(words)):
        refit(model, model, [torch.randn(8, 6)], masks={name: torch.zeros(shape)})


def test_a_pruned_network_comes_nearer_on_images_that_were_not_seen(digits):
    model, images = digits
    chosen = masks(model, 0.8)
    small = copy.deepcopy(model)
    for name, kept in chosen.items():
        small.get_submodule(name).weight.data *= kept
    again = refit(small, model, images[:128].split(32), masks=chosen)
    assert apart(again, model, images[128:]) < 0.5 * apart(small, model, images[128:])
    assert all(not again.get_submodule(name).weight[kept == 0].any() for name, kept in chosen.items())


def test_a_shared_layer_is_refitted_once_and_stays_shared():
    torch.manual_seed(0)
    layer = nn.Linear(6, 6)
    model, x = nn.Sequential(layer, nn.ReLU(), layer), torch.randn(100, 6)
    small = compress(model, planned(**{"0": ("svd", {"rank": 3})}))
    again = refit(small, model, [x])
    assert again[0] is again[2]
    assert again[0] is not small[0]
    assert not torch.equal(again[0][0].weight, small[0][0].weight)


def test_where_nothing_was_compressed_nothing_changes(digits):
    model, images = digits
    again = refit(model, model, [images[:8]])
    assert again is not model
    torch.testing.assert_close(tensors(again), tensors(model), rtol=0, atol=0)


def test_a_layer_that_never_runs_is_left_alone():
    torch.manual_seed(0)

    class Idle(nn.Module):
        def __init__(self):
            super().__init__()
            self.idle, self.used = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            return self.used(x)

    model, x = Idle(), torch.randn(50, 4)
    small = compress(model, planned(idle=("svd", {"rank": 1}), used=("svd", {"rank": 2})), stats=calibrate(model, [x]))
    again = refit(small, model, [x], stats=calibrate(model, [x]))
    torch.testing.assert_close(tensors(again.idle), tensors(small.idle), rtol=0, atol=0)


@pytest.mark.parametrize("kind", ["single", "constant", "zero"])
@pytest.mark.parametrize("aware", [True, False])
def test_one_image_and_constant_ones_give_a_finite_network(digits, kind, aware):
    model, images = digits
    few = {"single": images[:1], "constant": torch.full_like(images[:8], 3.7), "zero": torch.zeros_like(images[:8])}[
        kind
    ]
    stats = calibrate(model, [few], loss_aware=aware)
    plan = make_plan(model, Budget(macs=0.5), ("svd", "spatial", "tucker", "cp", "ht"), example=few, stats=stats)
    small = compress(model, plan, stats=stats)
    again = refit(small, model, [few], stats=stats)
    assert all(t.isfinite().all() for t in [*small.state_dict().values(), *again.state_dict().values()])
    assert apart(again, model, few) < 0.01  # these images at least
    assert apart(again, model, images) < 2  # and no other is blown up


def test_no_image_is_refused(digits):
    with pytest.raises(ValueError, match="batches must be at least one batch of images, got 'none'"):
        refit(digits[0], digits[0], [])


def test_a_network_that_is_no_compressed_form_is_refused(digits):
    sentence = r"small must be compress\(model, plan\) of this model, got \"a network without 'conv1'\""
    with pytest.raises(ValueError, match=sentence):
        refit(nn.Linear(3, 3), digits[0], [digits[1][:8]])


def test_nan_is_refused(digits):
    model, images = digits
    small = compress(model, planned(conv1=("svd", {"rank": 2})))
    with pytest.raises(ValueError, match="inputs and outputs of layer 'conv1' must be finite, got 'NaN or infinity'"):
        refit(small, model, [images[:8] * torch.nan])


def test_moments_of_another_network_are_refused(digits):
    model, images = digits
    other = nn.Sequential(nn.Flatten(), nn.Linear(1024, 10))
    stats = calibrate(other, [images[:8]])
    sentence = (
        r"stats must be of this network: calibrate\(model, batches\), got \"a layer '1' of 10 outputs and 1024 inputs\""
    )
    plan = make_plan(model, Budget(macs=0.5), example=images[:1])
    for use in (
        lambda: make_plan(model, Budget(macs=0.5), example=images[:1], stats=stats),
        lambda: compress(model, plan, stats=stats),
        lambda: refit(compress(model, plan), model, [images[:8]], stats=stats),
    ):
        with pytest.raises(ValueError, match=sentence):
            use()


@pytest.mark.parametrize("buffering", [0, -1], ids=["writing", "closing"])
def test_a_full_disk_is_said_with_the_folder_to_change(digits, buffering, monkeypatch):
    model, images = digits
    small = compress(model, planned(conv1=("svd", {"rank": 2})))
    monkeypatch.setattr(tempfile, "TemporaryFile", partial(Path("/dev/full").open, "w+b", buffering))
    with pytest.raises(ValueError, match=r"TMPDIR must be a folder with room, got '/.*No space left"):
        refit(small, model, [images[:2]])


@pytest.mark.parametrize("aware", [True, False])
def test_a_refit_that_is_worse_on_images_held_out_is_not_kept(digits, aware, caplog):
    """Nine of ten images are noise far from digits; the tenth, which is not fitted, is one."""
    model, images = digits
    stats = calibrate(model, images[:128].split(32), loss_aware=aware)
    plan = make_plan(model, Budget(macs=0.35), ("svd",), example=images[:1], stats=stats)
    small = compress(model, plan, stats=stats)
    torch.manual_seed(0)
    mixed = 5 * torch.randn_like(images[:80])
    mixed[9::10] = images[:8]
    kept = refit(small, model, mixed.split(20), stats=stats)
    assert "the refit is not kept" in caplog.text
    torch.testing.assert_close(tensors(kept), tensors(small), rtol=0, atol=0)
    assert kept is not small
    caplog.clear()
    blind = refit(small, model, mixed.unflatten(0, (8, 10))[:, :9].unbind(), stats=stats, held_out=0)
    assert not caplog.text
    assert apart(blind, model, images[:8]) > apart(small, model, images[:8])


def test_one_image_in_so_many_is_set_aside():
    fitted, aside = set_aside([torch.arange(5), torch.arange(5, 6), torch.arange(6, 12)], 4)
    assert torch.cat(aside).tolist() == [3, 7, 11]
    assert torch.cat(fitted).tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert all(len(batch) for batch in [*fitted, *aside])
    assert set_aside([torch.arange(7)], 8)[1] == []
    assert set_aside([torch.arange(70)], 0)[1] == []
