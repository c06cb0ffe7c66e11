"""The table of measured latencies: what it remembers, what it tells apart, and plans that keep to it."""

import copy
import json

import pytest
import torch
from torch import nn

from experiments.lab.config import Compression
from experiments.lab.recipes.recipe import recipe
from layers import Budget, Plan, calibrate, compress, make_plan
from layers.costs.cost import Call, Cost, trace
from layers.costs.timing import Timing
from layers.planning import by_latency as stopwatch, planner, prices as price
from layers.planning.by_latency import CLOSE, TRIES, decide
from layers.planning.choice import choose
from layers.planning.plan import Seconds
from layers.planning.planner import survey_network
from layers.planning.prices import LatencyTable
from layers.planning.selectors import Option

FORMS = [Option("svd", {"rank": rank}, Cost(0, 0, 0), 0.0, 0.0) for rank in (1, 3)]
FORMS += [Option(None, {}, Cost(0, 0, 0), 0.0, 0.0)]


@pytest.fixture
def layer():
    torch.manual_seed(0)
    return nn.Conv2d(4, 6, 3)


def calls(layer, *shape):
    return trace(layer, torch.zeros(shape))[""]


@pytest.fixture
def measured(monkeypatch):
    """How many functions each measurement had; they all run, and the n-th takes n ms."""
    seen = []

    def clock(functions, *_):
        for function in functions.values():
            function()
        seen.append(len(functions))
        return {key: Timing(1e-3, 1e-3 * (number + 1), 1e-3, 1, 0) for number, key in enumerate(functions)}

    monkeypatch.setattr(price, "interleaved", clock)
    return seen


def test_what_is_known_is_not_measured_again(layer, measured, tmp_path):
    path, once = tmp_path / "deep" / "latency.json", calls(layer, 2, 4, 8, 8)
    table = LatencyTable(path)
    assert table(layer, FORMS, once) == [1e-3, 2e-3, 3e-3]
    assert table(layer, FORMS, [*once, *once]) == [2e-3, 4e-3, 6e-3]
    assert measured == [3]
    assert LatencyTable(path)(layer, FORMS, once) == [1e-3, 2e-3, 3e-3]  # from disk
    assert measured == [3]
    more = [*FORMS, Option("svd", {"rank": 2}, Cost(0, 0, 0), 0.0, 0.0)]
    LatencyTable(path)(layer, more, once)
    assert measured == [3, 1]
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
def test_what_decides_the_time_is_told_apart(layer, measured, tmp_path, change):
    table = LatencyTable(tmp_path / "latency.json")
    table(layer, FORMS, calls(layer, 2, 4, 8, 8))
    other, shape = change[1](layer)
    table(other, FORMS, [Call(torch.Size(shape), torch.Size(), 0)])
    assert measured == [3, 3]


def test_threads_and_versions_are_told_apart(layer, measured, tmp_path, monkeypatch):
    table = LatencyTable(tmp_path / "latency.json")
    table(layer, FORMS, calls(layer, 2, 4, 8, 8))
    with monkeypatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 7)
        table(layer, FORMS, calls(layer, 2, 4, 8, 8))
    monkeypatch.setattr(torch, "__version__", "9.9")
    table(layer, FORMS, calls(layer, 2, 4, 8, 8))
    assert measured == [3, 3, 3]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": "b"}', '{"a": 1.0', "\udcff"])
def test_a_damaged_file_is_replaced(layer, measured, tmp_path, text):
    path = tmp_path / "latency.json"
    path.write_bytes(text.encode(errors="surrogateescape"))
    LatencyTable(path)(layer, FORMS, calls(layer, 2, 4, 8, 8))
    assert measured == [3]
    assert len(json.loads(path.read_text())) == 3


def test_the_file_lies_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert price.cache_file() == tmp_path / "cnn-compression-kernels" / "latency.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert price.cache_file() == tmp_path / ".cache" / "cnn-compression-kernels" / "latency.json"


def test_measuring_leaves_the_layer_alone(layer, measured, tmp_path):
    layer.bias.data.zero_()  # as most networks' are at first
    kept = copy.deepcopy(layer.state_dict())
    LatencyTable(tmp_path / "latency.json")(layer, FORMS, calls(layer, 2, 4, 8, 8))
    assert all(torch.equal(kept[key], value) for key, value in layer.state_dict().items())
    assert layer.training


@pytest.mark.parametrize("selector", ["uniform", "energy", "minimax", "loss", "evbmf"])
@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_a_latency_budget_keeps_to_the_table(tmp_path, monkeypatch, selector, fraction):
    """A clock that counts a microsecond per weight, and 100 for the rest of the network."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.Flatten(), nn.Linear(32 * 64, 64))
    x, path = torch.randn(4, 8, 12, 12), tmp_path / "latency.json"

    def seconds(module):
        return Timing(*[1e-6 * sum(p.numel() for p in module.parameters())] * 3, 1, 0)

    monkeypatch.setattr(price, "interleaved", lambda functions, *_: {k: seconds(f.func) for k, f in functions.items()})
    whole = seconds(model).median + 1e-4
    monkeypatch.setattr(planner, "latency", lambda model, x: Timing(whole, whole, whole, 1, 0))
    stats = calibrate(model, [x], loss_aware=False)

    def clock(model, plan, example):
        assert example is x
        return Seconds(whole, seconds(compress(model, plan)).median + 1e-4)

    monkeypatch.setattr(stopwatch, "measured", clock)
    plan = make_plan(
        model, Budget(latency=fraction), ("svd", "spatial"), selector, example=x, stats=stats, latencies=path
    )
    table, calls = LatencyTable(path), trace(model, x)
    forms = {row.name: [FORMS[-1]._replace(kernel=row.kernel, spec=row.spec)] for row in plan.layers}
    foreseen = 1e-4 + sum(table(model.get_submodule(name), form, calls[name])[0] for name, form in forms.items())
    assert foreseen <= fraction * whole
    assert json.loads(path.read_text()) == table.known  # all of it was known
    assert foreseen == pytest.approx(seconds(compress(model, plan)).median + 1e-4)
    assert any(row.kernel for row in plan.layers)
    check_the_plan_says_so(plan, model, whole, foreseen, tmp_path / "plan.json")


@pytest.fixture
def surveyed(tmp_path, monkeypatch):
    """(model, survey of it, example) by a table in which a weight is a microsecond and the rest is 100."""
    torch.manual_seed(0)
    model, x = nn.Sequential(*(nn.Conv2d(32, 32, 3) for _ in range(8))), torch.randn(1, 32, 20, 20)

    def seconds(module):
        return Timing(*[1e-6 * sum(p.numel() for p in module.parameters())] * 3, 1, 0)

    monkeypatch.setattr(price, "interleaved", lambda functions, *_: {k: seconds(f.func) for k, f in functions.items()})
    whole = seconds(model).median + 1e-4
    monkeypatch.setattr(planner, "latency", lambda model, x: Timing(whole, whole, whole, 1, 0))
    path = tmp_path / "latency.json"
    return model, survey_network(model, Budget(latency=0.5), ("svd",), example=x, latencies=path), x


@pytest.mark.parametrize(
    "truth", [lambda table: 0.8 * table, lambda table: 0.2 + 0.8 * table, lambda table: table**0.7]
)
def test_the_clock_has_the_last_word(surveyed, truth, monkeypatch):
    """Whatever a network of so many weights really takes, the plan's takes what was asked for."""
    model, survey, x = surveyed
    asked = []

    def clock(model, plan, example):
        asked.append(truth(plan.after.params / plan.before.params))
        return Seconds(2.0, 2.0 * asked[-1])

    monkeypatch.setattr(stopwatch, "measured", clock)
    plan = decide(model, survey, Budget(latency=0.6), x)
    share = truth(plan.after.params / plan.before.params)
    assert plan.seconds == (2.0, 2.0 * share)
    assert plan.budget == Budget(latency=0.6)
    assert (1 - CLOSE) * 0.6 <= share <= 0.6
    assert not (1 - CLOSE) * 0.6 <= asked[0] <= 0.6  # the table alone had missed it
    assert len(asked) <= TRIES


def test_what_the_clock_never_shows_is_refused(surveyed, monkeypatch):
    model, survey, x = surveyed
    monkeypatch.setattr(stopwatch, "measured", lambda *_: Seconds(1.0, 0.9))
    with pytest.raises(ValueError, match=r"within reach, .* at least latency=0\.9, got 'latency=0\.5'"):
        decide(model, survey, Budget(latency=0.5), x)


def test_both_networks_are_run_by_the_clock(surveyed):
    model, survey, x = surveyed
    kept = copy.deepcopy(model.state_dict())
    seconds = stopwatch.measured(model, choose(model, survey, Budget(latency=0.5)), x)
    assert min(seconds) > 0
    assert all(torch.equal(kept[key], value) for key, value in model.state_dict().items())


def test_the_runner_holds_to_the_clock_too(surveyed, tmp_path, monkeypatch):
    """With the whole example, also where a plan is only tried out: what the clock refuses costs no training."""
    model, _, example = surveyed
    seen, example = [], example.repeat(4, 1, 1, 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(stopwatch, "measured", lambda m, plan, x: seen.append(len(x)) or Seconds(1.0, 0.58))
    how = recipe("svd", Compression(("svd",), budget="latency=0.6"))
    assert how.plan(model, example, None).seconds == (1.0, 0.58)
    assert seen == [4]
    how = recipe("svd", Compression(("svd",), budget="latency=0.5"))
    with pytest.raises(ValueError, match=r"within reach, which measured at least latency=0\.58"):
        how.try_out(model, example)


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
