"""Second moments: rows of inputs and outputs at drawn positions, and no digits lost to a large mean."""

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from layers.calibration import draw as draw_positions, inputs_at, outputs_at, second_moment
from layers.calibration.moments import outputs_of, patches


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
    where = draw_positions(layer, y, most, torch.Generator().manual_seed(0))
    rows, out = inputs_at(layer, x, where), outputs_at(layer, y, where)
    assert out.shape == (layer.groups, 2 * min(most, y[0, 0].numel()), layer.out_channels // layer.groups)
    w = layer.weight.flatten(1).unflatten(0, (layer.groups, -1))
    torch.testing.assert_close(rows @ w.mT, out)
    torch.testing.assert_close(w @ patches(layer, x), outputs_of(layer, y))  # at every position


@pytest.mark.parametrize("shape", [(5, 6), (2, 3, 6), (2, 3, 4, 6), (2, 4, 4, 6)])
def test_rows_of_a_linear_layer(shape):
    layer, x = nn.Linear(6, 4, bias=False), torch.randn(shape)
    y = layer(x)
    where = draw_positions(layer, y, 9, torch.Generator())
    rows = outputs_at(layer, y, where)
    assert rows.shape == (1, y.numel() // 4, 4)
    torch.testing.assert_close(inputs_at(layer, x, where) @ layer.weight.mT, rows)
    torch.testing.assert_close(layer.weight @ patches(layer, x), outputs_of(layer, y))


def test_rows_of_one_image_without_a_batch_axis():
    conv, linear = nn.Conv2d(2, 3, 2, bias=False), nn.Linear(6, 4, bias=False)
    image, features = torch.randn(2, 4, 5), torch.randn(6)
    where = draw_positions(conv, conv(image), 5, torch.Generator())
    rows = inputs_at(conv, image, where), outputs_at(conv, conv(image), where)
    torch.testing.assert_close(rows, (inputs_at(conv, image[None], where), outputs_at(conv, conv(image[None]), where)))
    assert outputs_at(linear, linear(features), None).shape == (1, 1, 4)


def test_positions_are_different_and_drawn_from_the_seed():
    y = torch.zeros(1, 1, 5, 7)
    layer = nn.Conv2d(1, 1, 1)
    a, b, c = (draw_positions(layer, y, 20, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
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
