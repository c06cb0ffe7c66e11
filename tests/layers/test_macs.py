"""Multiply-accumulates, worked out by hand, of layers and of what a network computes between them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from layers import Budget, cost, make_plan


class Run(nn.Module):
    """A module, and what to do with it and the input."""

    def __init__(self, module, use):
        super().__init__()
        self.module, self.use = module, use

    def forward(self, x):
        return self.use(self.module, x)


STEPS, WIDTH = 5, 8  # of a sequence (n, 5, 8)
CASES = {  # module, use, shape of the input, MACs of one example
    "transposed": (nn.ConvTranspose2d(4, 6, 3, 2, groups=2), lambda m, x: m(x), (4, 5, 5), 4 * 25 * 3 * 9),
    "transposed 1d": (nn.ConvTranspose1d(4, 6, 3), lambda m, x: m(x), (4, 7), 4 * 7 * 6 * 3),
    "functional": (nn.Conv2d(3, 4, 3), lambda m, x: F.conv2d(x, m.weight), (3, 6, 6), 16 * 4 * 27),
    "a weight's product": (nn.Linear(8, 3), lambda m, x: x @ m.weight.T, (WIDTH,), 24),
    "gru": (nn.GRU(8, 16, batch_first=True), lambda m, x: m(x)[0], (STEPS, WIDTH), 5 * 3 * 16 * (8 + 16)),
    "lstm": (nn.LSTM(8, 16, batch_first=True), lambda m, x: m(x)[0], (STEPS, WIDTH), 5 * 4 * 16 * (8 + 16)),
    "attention": (
        nn.MultiheadAttention(8, 2, batch_first=True),
        lambda m, x: m(x, x, x, need_weights=False)[0],
        (STEPS, WIDTH),
        4 * 5 * 64 + 2 * 5 * 5 * 8,
    ),
    "encoder": (
        nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        lambda m, x: m(x),
        (STEPS, WIDTH),
        4 * 5 * 64 + 2 * 5 * 5 * 8 + 2 * 5 * 8 * 16,
    ),
    "bilinear": (nn.Bilinear(8, 8, 3), lambda m, x: m(x, x), (WIDTH,), 3 * 64),
    "a matrix times a vector": (nn.Linear(8, 3), lambda m, x: torch.stack([m.weight @ v for v in x]), (WIDTH,), 24),
    "a layer and a product": (nn.Linear(8, 8), lambda m, x: m(x) @ m(x).mT, (STEPS, WIDTH), 2 * 5 * 64 + 5 * 5 * 8),
}


@pytest.mark.parametrize("case", CASES)
def test_all_products_count(case):
    module, use, shape, macs = CASES[case]
    assert cost(Run(module, use).eval(), torch.randn(2, *shape)).macs == macs


def test_a_budget_is_not_met_where_the_work_is_in_layers_that_stay():
    decoder = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ConvTranspose2d(8, 64, 4, 2, 1)).eval()
    x = torch.randn(1, 3, 16, 16)
    with pytest.raises(ValueError, match=r"budget must be within reach of .* at least macs=0.9"):
        make_plan(decoder, Budget(macs=0.5), ("spatial",), example=x)
    plan = make_plan(decoder, Budget(macs=0.99), ("spatial",), example=x)
    assert plan.before.macs == 256 * (8 * 27 + 8 * 64 * 16)
    assert plan.layers[1].kernel is None
    assert plan.layers[1].before.macs == 256 * 8 * 64 * 16
