"""How a budget is spent: against brute force on small cases, and what every selector promises of its plans."""

import inspect
import itertools

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from experiments.lab.config import Compression
from experiments.lab.models.lenet import LeNet
from layers import SELECTORS, Budget, Cost, make_plan
from layers.factored import Form
from layers.planning import Request, survey_network
from layers.planning.errors import SHARES
from layers.planning.selectors import TooSmall, by_slope, spend
from stage3_torch import energy_rank, evbmf


def form(price, error, kernel="svd", level=1.0):
    return Form(kernel, {}, Cost(0, price, 0), price, error, level)


@st.composite
def networks(draw):
    """Two to four layers of forms, the dense one last: dearest and without error."""

    def layer():
        pairs = draw(st.lists(st.tuples(st.integers(1, 19), st.integers(1, 50)), max_size=4))
        return [*(form(price, error / 50) for price, error in pairs), form(20, 0.0, None)]

    return [layer() for _ in range(draw(st.integers(2, 4)))]


def within(layers, limit):
    """All choices that the limit allows."""
    return [c for c in itertools.product(*layers) if sum(o.price for o in c) <= limit]


@pytest.mark.parametrize("selector", ["energy", "loss"])
@given(networks(), st.floats(0.1, 1))
def test_a_sum_is_within_the_largest_step_of_the_best(selector, layers, share):
    limit = share * 20 * len(layers)
    allowed = within(layers, limit)
    if not allowed:
        least = sum(min(o.price for o in forms) for forms in layers)
        with pytest.raises(TooSmall, match=f"the limit must be at least {least}"):
            spend(SELECTORS[selector], layers, limit)
        return
    choice = spend(SELECTORS[selector], layers, limit)
    assert sum(o.price for o in choice) <= limit
    hulls = [[step.form.error for step in by_slope(forms)] for forms in layers]
    largest = max([a - b for hull in hulls for a, b in itertools.pairwise(hull)], default=0)
    best = min(sum(o.error for o in c) for c in allowed)
    assert best - 1e-12 <= sum(o.error for o in choice) <= best + largest + 1e-12


@given(networks(), st.integers(0, 12))
def test_a_sum_is_exact_at_the_corners_of_the_hull(layers, steps):
    """A corner: the choice after some steps of the steepest descent, and its own price as the limit."""
    steps_of = [by_slope(forms) for forms in layers]
    climb = sorted((step.threshold, i, step.form) for i, s in enumerate(steps_of) for step in s[1:])
    corner = [s[0].form for s in steps_of]
    for _, i, taken in climb[:steps]:
        corner[i] = taken
    limit = sum(o.price for o in corner)
    choice = spend(SELECTORS["loss"], layers, limit)
    best = min(sum(o.error for o in c) for c in within(layers, limit))
    assert abs(sum(o.error for o in choice) - best) < 1e-12


@given(networks(), st.floats(0.1, 1))
def test_minimax_is_the_least_largest_error(layers, share):
    limit = share * 20 * len(layers)
    allowed = within(layers, limit)
    if allowed:
        choice = spend(SELECTORS["minimax"], layers, limit)
        assert sum(o.price for o in choice) <= limit
        assert max(o.error for o in choice) == min(max(o.error for o in c) for c in allowed)


@pytest.mark.parametrize("selector", SELECTORS)
@given(networks())
def test_the_whole_budget_keeps_everything_that_has_a_price(selector, layers):
    choice = spend(SELECTORS[selector], layers, 20 * len(layers))
    if SELECTORS[selector].fills:
        assert all(o.error == 0 for o in choice)


@pytest.fixture(scope="module")
def low_rank():
    """A LeNet whose layers are low rank and noise, as trained ones are."""
    torch.manual_seed(0)
    model = LeNet()
    for layer in model.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            w = layer.weight.data.flatten(1)
            signal = torch.randn(len(w), 3) @ torch.randn(3, w.shape[1])
            layer.weight.data = (signal + 0.1 * torch.randn_like(w)).reshape(layer.weight.shape)
    return model


@pytest.mark.parametrize("fraction", [0.15, 0.5, 1.0])
def test_evbmf_never_exceeds_its_ranks(low_rank, fraction):
    plan = make_plan(low_rank, Budget(macs=fraction), ("svd",), "evbmf", example=torch.zeros(1, 1, 32, 32))
    assert plan.after.macs <= fraction * plan.before.macs
    shares = []
    for row in plan.layers:
        if row.kernel:
            own = int(evbmf(low_rank.get_submodule(row.name).weight.detach().flatten(1)).rank)
            assert row.spec["rank"] <= own
            shares.append(row.spec["rank"] / own)
    assert shares
    if fraction == 1:
        assert min(shares) == 1  # all of what it says pays


@pytest.mark.parametrize("fraction", [0.1, 0.3, 0.6])
def test_threshold_climbs_by_the_share_of_the_energy_that_every_layer_keeps(low_rank, fraction):
    plan = make_plan(low_rank, Budget(params=fraction), ("svd",), "threshold", example=torch.zeros(1, 1, 32, 32))
    assert plan.after.params <= fraction * plan.before.params
    left, reached = fraction * plan.before.params - plan.after.params, []
    for row in plan.layers:
        w = low_rank.get_submodule(row.name).weight.detach().flatten(1).double()
        values, (rows, columns) = torch.linalg.svdvals(w), w.shape
        ranks = [int(energy_rank(values, share)) for share in SHARES]
        if row.kernel is None:
            continue
        rank = row.spec["rank"]
        assert rank in ranks
        assert row.error == pytest.approx(float(values[rank:].norm() / values.norm()), abs=1e-6)
        above = [r for r in ranks if r > rank]
        costs = min(above[0] * (rows + columns), rows * columns) - rank * (rows + columns) if above else 0
        reached.append((SHARES[len(ranks) - len(above) - 1], costs))
    lowest, costs = min(reached)
    assert lowest < 1
    assert costs > left  # the layer that keeps least of its energy cannot keep more


def test_threshold_with_all_of_the_budget_keeps_every_layer_dense(low_rank):
    plan = make_plan(low_rank, Budget(macs=1.0), selector="threshold", example=torch.zeros(1, 1, 32, 32))
    assert [row.kernel for row in plan.layers] == [None] * 5


def test_threshold_takes_the_kernel_that_needs_least_for_the_share(low_rank):
    x = torch.zeros(1, 1, 32, 32)
    survey = survey_network(low_rank, Request(Budget(macs=0.6), ("svd", "tucker"), "threshold", example=x))
    contested = 0
    for layer in survey.layers:
        for step in SELECTORS["threshold"].steps(layer.forms)[1:]:
            rivals = [form for form in layer.forms if form.level == step.form.level]
            assert step.form.price == min(form.price for form in rivals)
            contested += len(rivals) > 1
    assert contested > 10
    with pytest.raises(ValueError, match="kernel for selector threshold must be one that has ranks, got 'dct'"):
        make_plan(low_rank, Budget(params=0.4), ("dct",), "threshold", example=x)


def test_every_selector_is_described_here_and_at_the_command_line():
    assert all(selector.description for selector in SELECTORS.values())
    assert all(name in inspect.getsource(Compression) for name in SELECTORS)


@pytest.mark.parametrize("selector", ["uniform", "energy", "threshold", "minimax", "evbmf"])
def test_the_least_that_a_refusal_names_is_possible(low_rank, selector):
    x = torch.zeros(1, 1, 32, 32)
    with pytest.raises(ValueError, match=f"within reach of selector {selector}, at least macs=") as refusal:
        make_plan(low_rank, Budget(macs=1e-4), selector=selector, example=x)
    least = Budget.parse(str(refusal.value).split("at least ")[1].split(",")[0])
    plan = make_plan(low_rank, least, selector=selector, example=x)
    assert plan.after.macs <= least.macs * plan.before.macs
    with pytest.raises(ValueError, match="within reach"):
        make_plan(low_rank, Budget(macs=least.macs - 2e-4), selector=selector, example=x)
