"""Weights on a grid: few whole numbers, errors that make up for one another, and bytes that are kept to."""

import copy

import pytest
import torch
from torch import nn

from layers import calibrate, on_grid
from layers.network import network_bytes
from layers.thinning import compensated, nearest, steps


def network():
    """Convolutions with and without groups, BatchNorm, a Linear layer with a bias."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, groups=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 10),
    ).eval()


@pytest.fixture(scope="module")
def seen():
    """(network, images whose pixels resemble their neighbours, statistics)."""
    model = network()
    generator = torch.Generator().manual_seed(1)
    images = torch.nn.functional.avg_pool2d(torch.randn(96, 3, 16, 16, generator=generator), 3, 1, 1) * 3 + 0.5
    return model, images, calibrate(model, images.split(32))


def weights(model):
    """Name -> weight of each layer that is rounded."""
    return {name: m.weight for name, m in model.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)}


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("calibrated", [False, True])
def test_each_filter_has_whole_numbers_of_so_many_bits(bits, calibrated, seen):
    model, _, stats = seen
    before = copy.deepcopy(model.state_dict())
    small = on_grid(model, bits, stats if calibrated else None)
    for name, weight in weights(small).items():
        step = steps(model.get_submodule(name).weight, bits)
        numbers = (weight / step).round()
        assert torch.equal(weight, step * numbers)
        assert numbers.abs().max() <= 2 ** (bits - 1) - 1
        assert not bool(((weight == 0) & weight.signbit()).any())
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))
    assert len(network_bytes(small)) < len(network_bytes(model)) * (bits + 4) / 32 + 1500


def test_by_hand():
    weight = torch.tensor([[1.0, -0.5, 0.24, 0.0]])
    step = steps(weight, 2)
    assert step.tolist() == [[1.0]]
    assert nearest(weight, step, 1).tolist() == [[1.0, 0.0, 0.0, 0.0]]  # a half goes to the even number
    # H is the identity up to damping: entries have nothing to do with one another
    alone = torch.eye(4, dtype=torch.float64)[None, None]
    assert compensated(weight[None], step[None], 1, alone).tolist() == [[[1.0, 0.0, 0.0, 0.0]]]
    # two inputs that are always the same: what the first loses the second has to give
    same = torch.ones(1, 1, 2, 2, dtype=torch.float64)
    assert compensated(torch.tensor([[[0.4, 0.3]]]), torch.ones(1, 1, 1), 1, same).tolist() == [[[0.0, 1.0]]]
    assert compensated(torch.tensor([[[0.4, 0.0]]]), torch.ones(1, 1, 1), 1, same).tolist() == [[[0.0, 0.0]]]


def loss_of(model, small, images):
    """Squared difference of what the two put out."""
    with torch.no_grad():
        return float((model(images) - small(images)).square().mean())


def test_compensated_rounding_changes_the_answers_less(seen):
    model, images, stats = seen
    for bits in (3, 4, 6):
        assert loss_of(model, on_grid(model, bits, stats), images) < 0.5 * loss_of(model, on_grid(model, bits), images)


def test_a_bias_takes_over_the_mean_of_what_is_lost(seen):
    model, images, stats = seen
    small = on_grid(model, 3, stats)
    with torch.no_grad():
        x = model[:3](images)
        before, after = model[3](x).mean((0, 2, 3)), nn.functional.conv2d(x, small[3].weight, small[3].bias, groups=2)
    # calibration saw a few positions an image
    assert (before - after.mean((0, 2, 3))).abs().max() < 0.2 * (before.std() + 0.05)


def test_zeros_stay_zero(seen):
    model, images, _ = seen
    pruned = copy.deepcopy(model)
    for weight in weights(pruned).values():
        weight.data *= weight.abs() > weight.abs().median()
    stats = calibrate(pruned, images.split(32))
    for small in (on_grid(pruned, 4), on_grid(pruned, 4, stats), on_grid(pruned, 8, stats, 6000)):
        for name, weight in weights(small).items():
            assert not bool(weight[pruned.get_submodule(name).weight == 0].any())


@pytest.mark.parametrize("share", [0.15, 0.25, 0.6])
def test_a_budget_of_bytes_is_kept_and_spent(share, seen):
    model, images, stats = seen
    whole = len(network_bytes(model))
    small = on_grid(model, 8, stats, int(share * whole))
    size = len(network_bytes(small, compressed=True))
    assert size <= share * whole
    if share == 0.25:
        assert size > 0.8 * share * whole
        coarse = on_grid(model, 8, stats, int(0.15 * whole))
        assert loss_of(model, small, images) < loss_of(model, coarse, images)


def test_a_budget_beats_the_same_bytes_at_one_number_of_bits(seen):
    model, images, stats = seen
    fixed = on_grid(model, 4, stats)
    chosen = on_grid(model, 8, stats, len(network_bytes(fixed, compressed=True)))
    assert loss_of(model, chosen, images) < loss_of(model, fixed, images)


def tied():
    """Two layers of one weight."""
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    return model


def test_what_cannot_be_rounded(seen):
    model, _, stats = seen
    broken = copy.deepcopy(model)
    broken[0].weight.data[0] = torch.nan
    for arguments, words in [
        ((model, 1), "bits must be a whole number from 2 to 8, got 1"),
        ((model, 9), "bits must be a whole number from 2 to 8, got 9"),
        ((nn.ReLU(),), "model must be one with convolutions or Linear layers to round"),
        ((tied(),), "layers to round must be ones whose weights no other module shares"),
        ((broken,), "weight of layer '0' must be finite, got 'NaN'"),
        ((model, 8, None, 5000), "stats must be given where bytes are"),
        ((model, 8, stats, 100), r"bytes must be at least [\d,]+ for this network, got 100"),
        ((nn.Sequential(nn.Linear(3, 3)), 8, stats), "stats must be of this network"),
    ]:
        with pytest.raises(ValueError, match=words):
            on_grid(*arguments)
