"""Of the same weights the same network begins its fine-tuning, so that a run that was killed goes on with its bits."""

import copy

import pytest
import torch
from little import PLAIN, fit, little

from experiments.lab.models.lenet import LeNet
from experiments.lab.recipes.treatment import Treatment
from layers import Budget, compress, load, make_plan, prune_channels, save

IMAGE = torch.zeros(1, 1, 32, 32)
TREATMENTS = {
    "none": Treatment(),
    "pruned": Treatment(0.5),
    "pruned by lamp": Treatment(0.5, "lamp", layers="linear"),
    "binary": Treatment(quantise="binary"),
    "pruned and binary": Treatment(0.5, quantise="binary"),
    "half": Treatment(quantise="half"),
}


@pytest.fixture(scope="module")
def dense():
    torch.manual_seed(0)
    return LeNet(2)


def assert_same(first, second):
    """Every tensor the same to the bit and to the layout, which decides the order of sums."""
    a, b = first.state_dict(), second.state_dict()
    assert a.keys() == b.keys()
    for name, tensor in a.items():
        assert torch.equal(tensor, b[name]), name
        assert tensor.stride() == b[name].stride(), name


@pytest.mark.parametrize("treatment", TREATMENTS.values(), ids=TREATMENTS)
def test_a_compressed_network_begins_the_same_and_takes_up_a_checkpoint(treatment, dense, tmp_path):
    plan = make_plan(dense, Budget(params=0.6), ("svd",), "energy", example=IMAGE)
    save(compress(dense, plan), plan, tmp_path)
    first, second, untrained = (treatment.begin(load(tmp_path, LeNet(2))) for _ in range(3))
    assert_same(first, second)
    fit(first, little(images=64, size=32), PLAIN, epochs=1, lr=0.05, batch=32)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), untrained.parameters()))
    second.load_state_dict(first.state_dict())
    assert_same(treatment.end(first), treatment.end(second))


@pytest.mark.parametrize("fraction", [0.3, 0.5])
def test_of_the_same_weights_the_same_channels_go(fraction, dense):
    first, second = (prune_channels(copy.deepcopy(dense), fraction, IMAGE) for _ in range(2))
    assert first.widths == second.widths
    assert_same(first.model, second.model)
