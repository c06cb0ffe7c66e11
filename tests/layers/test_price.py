"""The table of measured latencies: what it remembers, what it tells apart, and plans that keep to it."""

import copy
import json
import time

import pytest
import torch
from clocks import ModuleClock, Rest, Whole, weight_seconds
from torch import nn

from experiments.lab.evaluation.workshop import Workshop
from experiments.lab.steps.kernel import Kernel
from experiments.lab.steps.state import State
from layers import Budget, Plan, calibrate, compress, make_plan
from layers.costs import Call, trace
from layers.factored import Form
from layers.planning import Request, survey_network
from layers.planning.by_latency import CLOSE, TRIES, Stopwatch
from layers.planning.prices import LatencyTable, cache_file

FORMS = [Form("svd", {"rank": rank}) for rank in (1, 3)]
FORMS += [Form(None, {})]
MILLISECONDS = pytest.approx([0.048, 0.132, 0.222], abs=1e-9)  # 4 x 6 x 3 x 3 + 6 weights, (36 + 6) rank + 6 of the SVD


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Conv2d(4, 6, 3)


def calls(layer, *shape):
    return trace(layer, torch.zeros(shape)).calls[""]


@pytest.fixture
def clock():
    with ModuleClock().running() as clock:
        yield clock


def measured(clock, layer):
    """How many forms have run since the last call of this: sequences, and layers like the dense one."""
    forms = {id(module) for module in clock.ran if isinstance(module, nn.Sequential) or repr(module) == repr(layer)}
    clock.ran.clear()
    return len(forms)


def test_what_is_known_is_not_measured_again(layer, clock, tmp_path):
    path, once = tmp_path / "deep" / "latency.json", calls(layer, 2, 4, 8, 8)
    table = LatencyTable(path, clock)
    clock.ran.clear()
    assert [1e3 * s for s in table(layer, FORMS, once)] == MILLISECONDS
    assert measured(clock, layer) == 3
    assert [1e3 * s / 2 for s in table(layer, FORMS, [*once, *once])] == MILLISECONDS
    assert [1e3 * s for s in LatencyTable(path, clock)(layer, FORMS, once)] == MILLISECONDS  # from disk
    assert measured(clock, layer) == 0
    LatencyTable(path, clock)(layer, [*FORMS, Form("svd", {"rank": 2})], once)
    assert measured(clock, layer) == 2  # beside the dense layer, by which it is scaled
    assert [file.name for file in path.parent.iterdir()] == ["latency.json"]


@pytest.mark.parametrize(
    "change",
    {
        "batch": lambda layer: (layer, (3, 4, 8, 8)),
        "size": lambda layer: (layer, (2, 4, 9, 8)),
        "dtype": lambda layer: (copy.deepcopy(layer).double(), (2, 4, 8, 8)),
        "layout": lambda layer: (copy.deepcopy(layer).to(memory_format=torch.channels_last), (2, 4, 8, 8)),
        "stride": lambda layer: (nn.Conv2d(4, 6, 3, stride=2), (2, 4, 8, 8)),
        "bias": lambda layer: (nn.Conv2d(4, 6, 3, bias=False), (2, 4, 8, 8)),
    }.items(),
    ids=lambda item: item[0],
)
def test_what_decides_the_time_is_told_apart(layer, clock, tmp_path, change):
    table = LatencyTable(tmp_path / "latency.json", clock)
    table(layer, FORMS, calls(layer, 2, 4, 8, 8))
    other, shape = change[1](layer)
    clock.ran.clear()
    table(other, FORMS, [Call(torch.Size(shape), torch.Size(), 0)])
    assert measured(clock, other) == 3


def test_threads_and_versions_are_told_apart(layer, clock, tmp_path, monkeypatch):
    table, once = LatencyTable(tmp_path / "latency.json", clock), calls(layer, 2, 4, 8, 8)
    clock.ran.clear()
    table(layer, FORMS, once)
    assert measured(clock, layer) == 3
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 7)
        table(layer, FORMS, once)
    assert measured(clock, layer) == 3
    monkeypatch.setattr(torch, "__version__", "9.9")
    table(layer, FORMS, once)
    assert measured(clock, layer) == 3
    table(layer, FORMS, once)
    assert measured(clock, layer) == 0


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": "b"}', '{"a": 1.0', "\udcff"])
def test_a_damaged_file_is_replaced(layer, clock, tmp_path, text):
    path = tmp_path / "latency.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    assert [1e3 * s for s in LatencyTable(path, clock)(layer, FORMS, calls(layer, 2, 4, 8, 8))] == MILLISECONDS
    assert len(json.loads(path.read_text())) == 3


def test_the_file_lies_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_file() == tmp_path / "cnn-compression-kernels" / "latency.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_file() == tmp_path / ".cache" / "cnn-compression-kernels" / "latency.json"


def test_measuring_leaves_the_layer_alone(layer, clock, tmp_path):
    layer.bias.data.zero_()  # as most networks' are at first
    kept = copy.deepcopy(layer.state_dict())
    LatencyTable(tmp_path / "latency.json", clock)(layer, FORMS, calls(layer, 2, 4, 8, 8))
    assert all(torch.equal(kept[key], value) for key, value in layer.state_dict().items())
    assert layer.training


@pytest.mark.parametrize("selector", ["uniform", "energy", "threshold", "minimax", "loss", "evbmf"])
@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_a_latency_budget_keeps_to_the_table(tmp_path, clock, selector, fraction):
    """A clock that counts a microsecond per weight, and 100 for the rest of the network."""
    torch.manual_seed(0)
    convs = nn.Conv2d(8, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3)
    model = nn.Sequential(*convs, nn.Flatten(), nn.Linear(32 * 64, 64), Rest())
    x, path = torch.randn(4, 8, 12, 12), tmp_path / "latency.json"
    whole = weight_seconds(model) + 1e-4
    stats = calibrate(model, [x], loss_aware=False)
    plan = make_plan(
        model,
        Budget(latency=fraction),
        ("svd", "spatial"),
        selector,
        example=x,
        stats=stats,
        latencies=path,
        clock=clock,
    )
    table, calls = LatencyTable(path, clock), trace(model, x).calls
    forms = {row.name: [FORMS[-1]._replace(kernel=row.kernel, spec=row.spec)] for row in plan.layers}
    foreseen = 1e-4 + sum(table(model.get_submodule(name), form, calls[name])[0] for name, form in forms.items())
    assert foreseen <= fraction * whole + 1e-9
    assert json.loads(path.read_text()) == table.known  # all of it was known
    assert foreseen == pytest.approx(weight_seconds(compress(model, plan)) + 1e-4)
    assert any(row.kernel for row in plan.layers)
    check_the_plan_says_so(plan, model, whole, foreseen, tmp_path / "plan.json")


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Whole(*(nn.Conv2d(32, 32, 3) for _ in range(8))), torch.randn(1, 32, 20, 20)


@pytest.mark.parametrize(
    "truth",
    [
        lambda table: 0.8 * table,
        lambda table: 0.2 + 0.8 * table,
        lambda table: table**0.7,
        lambda table: max(0.1, 0.58 + 3 * (table - 0.4)),
        lambda table: 0.6 * table if table < 0.4 else table + 0.17,
    ],
)
def test_the_clock_has_the_last_word(network, truth, tmp_path):
    """Whatever a network of so many weights really takes, the plan's takes what was asked for."""
    model, x = network
    tried = []

    def told(share):
        tried.extend([truth(share)] * (truth(share) not in tried))
        return truth(share)

    with ModuleClock(told).running() as clock:
        request = Request(Budget(latency=0.5), ("svd",), example=x, latencies=tmp_path / "latency.json", clock=clock)
        plan = survey_network(model, request).plan(Budget(latency=0.6))
    share = truth(weight_seconds(compress(model, plan)) / weight_seconds(model))
    dense = weight_seconds(model) + 1e-4
    assert plan.seconds == pytest.approx((dense, dense * share))
    assert plan.budget == Budget(latency=0.6)
    assert (1 - CLOSE) * 0.6 <= share <= 0.6
    assert not (1 - CLOSE) * 0.6 <= tried[0] <= 0.6  # the table alone had missed it
    assert len(tried) <= TRIES


def test_what_the_clock_never_shows_is_refused(network, tmp_path):
    model, x = network
    sentence = r"budget must be within reach, which measured at least latency=0\.9, 0\.\d+ by .*, got 'latency=0\.5'"
    with ModuleClock(lambda share: 0.9).running() as clock, pytest.raises(ValueError, match=sentence):
        make_plan(model, Budget(latency=0.5), ("svd",), example=x, latencies=tmp_path / "latency.json", clock=clock)


def test_both_networks_are_run_by_the_real_clock(network):
    model, x = network
    kept = copy.deepcopy(model.state_dict())
    pair = Stopwatch(model, x)(make_plan(model, Budget(macs=0.5), ("svd",), example=x))
    assert min(pair) > 0
    assert all(torch.equal(kept[key], value) for key, value in model.state_dict().items())


def test_the_runner_holds_to_the_clock_too(network, tmp_path, monkeypatch):
    """With the whole example, also where a plan is only tried out: what the clock refuses costs no training."""
    model, example = network
    example = example.repeat(4, 1, 1, 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with ModuleClock(lambda share: 0.58).running() as clock, monkeypatch.context() as patch:
        patch.setattr(time, "perf_counter", clock)
        reached = Kernel("svd", latency=0.6, selector="energy").plan(model, example, None)
        shop = Workshop(model, example, None, "cpu", None, 1)
        start = State.of(shop)
        with pytest.raises(ValueError, match=r"within reach, which measured at least latency=0\.58"):
            Kernel("svd", latency=0.5).check(start, shop)
    assert reached.seconds.after / reached.seconds.before == pytest.approx(0.58)
    assert "[4, 32, 20, 20]" in (tmp_path / "cnn-compression-kernels" / "latency.json").read_text()


def check_the_plan_says_so(plan, model, whole, foreseen, path):
    """The seconds that it was chosen by, in print, as a table and after JSON."""
    assert plan.seconds == pytest.approx((whole, foreseen))
    for row in plan.layers:
        dense = 1e-6 * sum(p.numel() for p in model.get_submodule(row.name).parameters())
        assert row.seconds.before == pytest.approx(dense)
        assert (row.seconds.after < row.seconds.before) == (row.kernel is not None)
    head, *_, total = str(plan).splitlines()
    assert "macs  " in head
    assert " ms " in head
    assert f"{1e3 * whole:.3g} > {1e3 * foreseen:.3g}" in total
    frame = plan.to_frame()
    assert frame.loc["total", "seconds_after"] == pytest.approx(foreseen)
    assert list(frame["seconds_before"][:-1]) == [row.seconds.before for row in plan.layers]
    plan.save(path)
    assert Plan.load(path) == plan
