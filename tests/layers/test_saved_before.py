"""Folders that `save` wrote at commit a884ebb still load, by `load` and by the loader.py that lies in each.

coded: dct with sorted channels, dwt db2, dht of the lowest frequencies, dst, shannon.  factored: spatial, tucker, cp
and svd of a network that had lost a quarter of its channels.  expected.safetensors holds an input, what the network put
out there and then, and its decoded weights.
"""

from pathlib import Path

import pytest
import torch
from loaders import loader
from safetensors.torch import load_file
from torch import nn

from layers import load

SAVED = Path(__file__).with_name("saved")


def network():
    """What was compressed; its own weights do not matter."""
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=2, bias=False),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding="same", padding_mode="circular"),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 12),
        nn.ReLU(),
        nn.Linear(12, 10),
    ).eval()


@pytest.mark.parametrize("name", ["coded", "factored"])
def test_a_folder_of_an_older_version_loads_to_the_same_bits(name):
    ours, theirs = load(SAVED / name, network()), loader(SAVED / name)(SAVED / name, network())
    expected = load_file(SAVED / name / "expected.safetensors")
    with torch.no_grad():
        y = ours(expected["input"])
        assert torch.equal(y, theirs(expected["input"]))
    assert (y - expected["output"]).abs().max() < 1e-6  # another machine sums in another order
    weights = {key.removeprefix("weight "): value for key, value in expected.items() if key.startswith("weight ")}
    assert len(weights) == {"coded": 5, "factored": 0}[name]
    for place, weight in weights.items():
        assert torch.equal(ours.get_submodule(place).weight, theirs.get_submodule(place).weight)
        assert (ours.get_submodule(place).weight - weight).abs().max() < 1e-6
