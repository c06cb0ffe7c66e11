"""Every state between two steps is stored whole and read back bit for bit: so a run that was killed goes on alike."""

import copy
from dataclasses import replace

import pytest
import torch
from lightning import Callback
from little import PLAIN, little
from loaders import loader

from experiments.lab.evaluation.workshop import Workshop
from experiments.lab.models.lenet import LeNet
from experiments.lab.steps.language import parse
from experiments.lab.steps.state import State
from layers import load, prune_channels

IMAGE = torch.zeros(1, 1, 32, 32)
LISTS = [
    "svd params=0.6 selector=energy, finetune 1",
    "channels 0.3, svd params=0.6 selector=energy",
    "channels 0.2, svd params=0.8 selector=energy, channels 0.3, finetune 1, weights 0.5",
    "weights 0.5, finetune 1",
    "svd params=0.6 selector=energy, weights 0.5 refit, weights 0.7 refit, finetune 1",
    "weights 0.5 score=lamp layers=linear, finetune 1, weights 0.8, finetune 1",
    "svd params=0.6 selector=energy, weights 0.5, binary, finetune 1",
    "binary, finetune 1, half",
    "dct params=0.5 selector=energy, finetune 1",
    "weights 0.5, batchnorm, bf16",
    "channels macs=0.6 score=taylor, weights 0.8 per-layer gradual, finetune 2",
    "weights 0.5, weights 0.8 gradual, finetune 1, half",
    "weights 0.5, bits 4 rounding=nearest",
    "svd params=0.6 selector=energy, bits 5",
]


@pytest.fixture(scope="module")
def shop():
    torch.manual_seed(0)
    dense, dataset = LeNet(2), little(images=64, size=32)
    training = replace(PLAIN, finetune_lr=0.03)  # in one epoch it is then better than before
    return Workshop(dense, IMAGE, dataset, "cpu", training, 4, count=8, trained=True)


def assert_same(first, second):
    """Every tensor the same to the bit and to the layout, which decides the order of sums."""
    a, b = first.state_dict(), second.state_dict()
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name
        assert tensor.stride() == b[name].stride(), name


def climbed(steps, shop, folder=None):
    """The states after each step; with a folder each is read back before the next step."""
    state, states = State.of(shop), []
    for number, step in enumerate(steps):
        state = replace(step.apply(state, shop), done=steps[: number + 1])
        if folder is not None:
            state.keep(folder / str(number))
            state = State.read(folder / str(number), shop.dense, steps[: number + 1], state.form, state.binary)
        states.append(state)
    return states


@pytest.mark.parametrize("words", LISTS)
def test_a_network_that_was_stored_goes_on_as_one_that_was_not(words, shop, tmp_path):
    steps = parse(words)
    for a, b in zip(climbed(steps, shop), climbed(steps, shop, tmp_path)):
        assert_same(a.network(), b.network())
        assert_same(a.held(), b.held())
    a.save(tmp_path / "first")
    b.save(tmp_path / "second")
    names = [path.name for path in (tmp_path / "first").iterdir()]
    assert "held.safetensors" not in names
    assert all((tmp_path / "first" / n).read_bytes() == (tmp_path / "second" / n).read_bytes() for n in names)
    with torch.no_grad():
        read = load(tmp_path / "first", shop.dense).eval()(IMAGE)
        assert torch.allclose(read, b.network().eval()(IMAGE), atol=0.05 if b.form else 1e-6)
        elsewhere = loader(tmp_path / "first")(tmp_path / "first", LeNet(2)).eval()
        assert torch.equal(elsewhere(IMAGE), read)


def test_a_refit_makes_up_for_weights_that_are_zero_and_stay_so(shop):
    words = "weights 0.7 layers=conv", "weights 0.7 layers=conv refit"
    (plain,), (fitted,) = (climbed(parse(text), shop) for text in words)
    zeros, apart = [], []
    for state in (plain, fitted):
        assert state.masks.keys() == {"conv1", "conv2"}
        zeros.append(sum(int((mask == 0).sum()) for mask in state.masks.values()))
        layers = ((state.plain().get_submodule(name).weight, mask) for name, mask in state.masks.items())
        assert not any(weight[mask == 0].any() for weight, mask in layers)
        with torch.no_grad():
            batches = [x for x, _ in shop.images(shop.dense, ()).batches]
            apart.append(sum(float((state.plain()(x) - shop.dense(x)).square().sum()) for x in batches))
    assert zeros[0] == zeros[1]
    assert apart[1] < 0.5 * apart[0]
    with pytest.raises(
        ValueError, match="refit of weights must be left out where weights have two values, as those of"
    ):
        parse("weights 0.5 refit")[0].check(climbed(parse("binary"), shop)[0], shop)


@pytest.mark.parametrize("then", ["weights 0.6 refit", "weights 0.8 layers=conv", "weights 0.3"])
def test_what_is_zero_stays_so_whatever_share_comes_next(then, shop):
    before, after = climbed(parse(f"weights 0.5, {then}"), shop)
    for name, mask in before.masks.items():
        assert not after.plain().get_submodule(name).weight[mask == 0].any(), name


def test_what_is_held_stays_through_training(shop):
    *_, pruned, tuned = climbed(parse("weights 0.7, finetune 1"), shop)
    for name, mask in pruned.masks.items():
        before, after = (state.plain().get_submodule(name).weight for state in (pruned, tuned))
        assert not torch.equal(before, after)
        assert not after[mask == 0].any()
    *_, binary = climbed(parse("weights 0.5, binary, finetune 1"), shop)
    weight = binary.plain().conv2.weight
    assert all(len(row.abs().unique()) <= 2 for row in weight)  # zero and one size, of either sign
    assert int((weight == 0).sum()) >= int((binary.masks["conv2"] == 0).sum()) > 0


def test_weights_that_go_gradually_end_at_their_share_and_count_only_then(shop):
    shares = []

    class Seen(Callback):
        def on_train_epoch_end(self, trainer, module):
            layers = [m for m in module.model.modules() if hasattr(m, "parametrizations")]
            kept = torch.cat([m.parametrizations.weight[0].mask.flatten() for m in layers])
            shares.append(1 - float(kept.mean()))

    watched = replace(shop, callbacks=[Seen()])
    before, after = climbed(parse("weights 0.8 gradual, finetune 3"), watched)
    assert not before.masks
    assert before.growing is not None
    assert shares == pytest.approx([0.7, 0.8, 0.8], abs=1e-3)  # 0.8 (1 - 1 / 8) of a rise over two epochs of three
    assert after.growing is None
    zeros = sum(int((after.plain().get_submodule(name).weight == 0).sum()) for name in after.masks)
    assert zeros == sum(int((mask == 0).sum()) for mask in after.masks.values())
    assert zeros / sum(mask.numel() for mask in after.masks.values()) == pytest.approx(0.8, abs=1e-3)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_a_training_in_which_weights_go_is_gone_on_with_to_the_same_bits(ema, shop, tmp_path):
    class Stop(Callback):
        def on_train_epoch_start(self, trainer, module):
            if trainer.current_epoch == 1 and trainer.global_step:
                raise KeyboardInterrupt

    steps = parse("weights 0.8 gradual per-layer, finetune 3")
    shop = replace(shop, training=replace(shop.training, ema=ema))
    *_, whole = climbed(steps, shop)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        climbed(steps, replace(shop, checkpoint=tmp_path / "last.ckpt", callbacks=[Stop()]))
    assert (tmp_path / "last.ckpt").is_file()
    *_, resumed = climbed(steps, replace(shop, checkpoint=tmp_path / "last.ckpt"))
    assert_same(whole.held(), resumed.held())


def test_what_would_stop_too_early_is_refused_with_weights_that_go_gradually(shop):
    step, _ = parse("weights 0.8 gradual, finetune 3")
    impatient = replace(shop, training=replace(shop.training, patience=1))
    with pytest.raises(ValueError, match=r"patience must be left out with weights that go gradually: .*, got 1"):
        step.check(State.of(impatient), impatient)
    assert step.check(State.of(shop), shop).growing is step


def test_channels_are_taken_out_by_loss_within_a_budget_and_refitted(shop):
    plain, fitted = (climbed(parse(f"channels macs=0.6 {words}"), shop)[0] for words in ("refit=no", ""))
    assert plain.plan.after == fitted.plan.after
    assert plain.plan.after.macs <= 0.6 * plain.plan.before.macs
    assert plain.plan.widths == fitted.plan.widths
    assert not torch.equal(plain.model.conv2.weight, fitted.model.conv2.weight)
    step = parse("channels macs=0.6")[0]
    assert step.images
    assert step.check(State.of(shop), shop).guessed
    assert not parse("channels 0.3 score=l1 refit=no")[0].images
    with pytest.raises(ValueError, match=r"macs must be at least 0\.[0-9]*: then each layer has the fewest"):
        parse("channels macs=0.01")[0].check(State.of(shop), shop)


def test_a_step_leaves_the_state_before_it_as_it_was(shop):
    before = copy.deepcopy(shop.dense.state_dict())
    climbed(parse("channels 0.3, svd params=0.7 selector=energy, weights 0.5, finetune 1, half"), shop)
    assert all(torch.equal(tensor, shop.dense.state_dict()[name]) for name, tensor in before.items())


@pytest.mark.parametrize("fraction", [0.3, 0.5])
def test_of_the_same_weights_the_same_channels_go(fraction, shop):
    first, second = (prune_channels(copy.deepcopy(shop.dense), fraction, IMAGE) for _ in range(2))
    assert first.widths == second.widths
    assert_same(first.model, second.model)


def test_a_layer_that_would_lose_all_its_weights_is_named(shop):
    with torch.no_grad():
        small = copy.deepcopy(shop.dense)
        small.conv2.weight.mul_(1e-6)
    shop = Workshop(small, IMAGE, shop.dataset, "cpu", PLAIN, 32, trained=True)
    with pytest.raises(ValueError, match=r"fraction to prune must be small enough to leave layer 'conv2' a weight"):
        parse("weights 0.5")[0].check(State.of(shop), shop)
