"""Costs, budgets, plans: counted right, met always, refused in a sentence."""

import copy
import json
import warnings
from dataclasses import replace

import pytest
import torch
import torchvision
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from experiments.lab.models.lenet import LeNet
from layers import METHODS, SELECTORS, Budget, Cost, Plan, calibrate, compress, cost, load, make_plan, save

X = torch.zeros(2, 1, 32, 32)
COLUMNS = ["kernel", "spec", *(f"{f}_{when}" for f in Cost._fields for when in ("before", "after")), "error", "reason"]


class WithIdle(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.idle, self.body = nn.Conv2d(1, 9, 3), body

    def forward(self, x):
        return self.body(x)


@pytest.fixture
def lenet():
    torch.manual_seed(0)
    return LeNet()


@pytest.fixture(scope="module")
def stats():
    torch.manual_seed(0)
    return calibrate(LeNet(), [torch.randn(16, 1, 32, 32)])


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "googlenet"])
def test_macs_are_half_of_torchs_flops(name):
    options = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    model, x = getattr(torchvision.models, name)(**options).eval(), torch.randn(2, 3, 64, 64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(x)
    assert 2 * 2 * cost(model, x).macs == counter.get_total_flops()  # two examples, two operations each


def test_cost_by_hand(lenet):
    # conv1 6 filters of 25 at 28 x 28; conv2 16 of 150 at 10 x 10; Linear 400 x 120, 120 x 84, 84 x 10
    macs = 6 * 25 * 784 + 16 * 150 * 100 + 400 * 120 + 120 * 84 + 84 * 10
    assert cost(lenet, X) == Cost(61_706, macs, 4 * 61_706)


def test_a_shared_layer_is_stored_once_and_runs_twice():
    layer = nn.Linear(3, 3, bias=False)
    assert cost(nn.Sequential(layer, layer), torch.zeros(1, 3)) == Cost(9, 18, 36)


def test_cost_leaves_every_mode_alone(lenet):
    lenet.conv1.eval()
    cost(lenet, X)
    assert lenet.training
    assert not lenet.conv1.training


MIXED = ("svd", "spatial", "tucker", "cp", "ht")


@pytest.mark.parametrize("metric", ["macs", "params", "bytes"])
@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("fraction", [0.3, 0.5, 0.9, 1.0])
def test_the_budget_is_met_and_the_plan_tells_the_truth(lenet, stats, selector, metric, fraction):
    kernels = MIXED if fraction == 0.5 else ("svd", "spatial")
    plan = make_plan(lenet, Budget(**{metric: fraction}), kernels, selector, example=X, stats=stats)
    small = compress(lenet, plan)
    assert cost(small, X) == plan.after
    assert getattr(plan.after, metric) <= fraction * getattr(plan.before, metric)
    if SELECTORS[selector].fills:  # what is allowed is used
        assert getattr(plan.after, metric) > 0.9 * fraction * getattr(plan.before, metric)
    for row in plan.layers:
        assert (row.kernel is None) == (row.after == row.before) == bool(row.reason)


def test_the_default_is_loss_where_there_are_stats_and_else_energy(lenet, stats):
    assert make_plan(lenet, Budget(macs=0.5), example=X).selector == "energy"
    assert make_plan(lenet, Budget(macs=0.5), example=X, stats=stats).selector == "loss"


@pytest.mark.parametrize("fraction", [0.3, 0.5])
def test_coded_layers_meet_a_parameter_budget(lenet, fraction):
    plan = make_plan(lenet, Budget(params=fraction), ("dct",), example=X)
    assert cost(compress(lenet, plan), X) == plan.after
    assert 0.9 * fraction < plan.after.params / plan.before.params <= fraction
    assert plan.after.macs == plan.before.macs


def test_more_budget_is_never_worse(lenet):
    errors = []
    for tenths in range(2, 11):
        plan = make_plan(lenet, Budget(macs=tenths / 10), selector="energy", example=X)
        errors.append(sum(row.error**2 for row in plan.layers))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == 0


def test_plans_come_back_from_json(lenet, tmp_path):
    plan = make_plan(lenet, Budget(params=0.5), ("dct",), example=X)
    plan.save(tmp_path / "plan.json")
    assert Plan.load(tmp_path / "plan.json") == plan
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    for row in plan.layers:
        assert row.name in str(plan)


@pytest.mark.parametrize("text", ["", "[]", '{"version": 2}', '{"version": 1, "layers": [{}]}'])
def test_what_is_no_plan_is_refused(tmp_path, text):
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ValueError, match=r"plan must be .*, got .*plan.json"):
        Plan.load(tmp_path / "plan.json")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"kernels": ["tucker3"]}, "kernel must be one of svd, .*, got 'tucker3'"),
        ({"kernels": ["dct"]}, "budget for kernel dct must be on bytes or params, got 'macs=0.5'"),
        ({"selector": "loss"}, r"stats must be given for selector loss: calibrate\(model, batches\), got None"),
        (
            {"selector": "evbmf", "kernels": ["dct"], "budget": Budget(params=0.5)},
            "kernel for selector evbmf must be one that has ranks, got 'dct'",
        ),
        ({"where": lambda name, layer: False}, "within reach of selector energy, at least macs=1, got macs=0.5"),
        ({"selector": "magic"}, "selector must be one of uniform, energy.*, got 'magic'"),
        (
            {"budget": Budget(macs=0.001)},
            r"budget must be within reach of selector energy, at least macs=0\.\d+, got macs=0.001",
        ),
    ],
)
def test_impossible_plans_are_refused(lenet, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        make_plan(lenet, **{"budget": Budget(macs=0.5), "example": X} | arguments)


@pytest.mark.parametrize("net", [nn.ReLU(), nn.Sequential(nn.Flatten(), nn.Softmax(1))], ids=["one", "two"])
def test_a_network_without_a_layer_to_compress_is_refused(net):
    sentence = "model must be a network that calls a convolution or Linear layer, got"
    with pytest.raises(ValueError, match=sentence):
        make_plan(net, Budget(macs=0.5), example=X)
    with pytest.raises(ValueError, match=sentence):
        make_plan(WithIdle(net), Budget(macs=0.5), example=X)


@pytest.mark.parametrize("text", ["macs=1.5", "macs=0", "macs=half", "flops=0.5", "0.5", "macs=nan", ""])
def test_impossible_budgets_are_refused(text):
    with pytest.raises(ValueError, match=r"budget.* must be .*, got"):
        Budget.parse(text)


@pytest.mark.parametrize("arguments", [{}, {"macs": 0.5, "params": 0.5}, {"macs": True}])
def test_a_budget_limits_one_thing(arguments):
    with pytest.raises(ValueError, match=r"budget.* must be"):
        Budget(**arguments)


def test_tied_layers_and_excluded_ones_stay_dense_with_a_reason(lenet):
    lenet.fc2 = nn.Linear(120, 84)
    lenet.fc4 = nn.Linear(10, 10)
    lenet.fc5 = nn.Linear(10, 10)
    lenet.fc5.weight = lenet.fc4.weight
    plan = make_plan(lenet, Budget(macs=0.6), example=X, where=lambda name, module: name != "conv1")
    reasons = {row.name: row.reason for row in plan.layers}
    assert reasons["conv1"] == "excluded"
    assert "tied to those of fc5" in reasons["fc4"]
    compress(lenet, plan)


@pytest.mark.parametrize("metric", ["macs", "params"])
def test_a_layer_that_never_runs_is_in_the_plan_with_its_reason(lenet, metric):
    net = WithIdle(lenet)
    stats = calibrate(net, [torch.randn(4, 1, 32, 32)])
    plan = make_plan(net, Budget(**{metric: 0.5}), example=X, stats=stats)
    row = plan.layers[-1]
    assert (row.name, row.kernel, row.reason) == ("idle", None, "the example does not reach it")
    assert cost(compress(net, plan, stats=stats), X) == plan.after


def test_a_layer_that_no_calibration_image_reached_stays_dense(lenet, stats):
    seen = replace(stats, layers={name: s for name, s in stats.layers.items() if name != "fc1"})
    rows = {row.name: row for row in make_plan(lenet, Budget(macs=0.7), example=X, stats=seen).layers}
    assert (rows["fc1"].kernel, rows["fc1"].reason) == (
        None,
        "no calibration image reached it; Linear has no height and width; "
        "a Linear layer is a matrix, which svd decomposes",
    )


def test_ranks_are_rounded_and_a_layer_that_would_not_shrink_stays_dense(lenet):
    kernels = ("svd", "spatial", "tucker", "cp", "cp4", "ht")
    plan = make_plan(lenet, Budget(macs=0.5), kernels, example=X, rank_multiple=4)
    for row in plan.layers:
        if row.kernel:
            ranks = row.spec.get("ranks") or [row.spec["rank"]]
            most = METHODS[row.kernel].candidates(lenet.get_submodule(row.name))[-1].spec
            full = most.get("ranks") or [most["rank"]]
            assert all(rank % 4 == 0 or rank == largest for rank, largest in zip(ranks, full))
            assert row.after.macs < row.before.macs
    assert cost(compress(lenet, plan), X) == plan.after
    coarse = make_plan(lenet, Budget(macs=1.0), kernels, example=X, rank_multiple=1000)
    assert all(row.reason.endswith("no form has fewer macs") for row in coarse.layers if row.name.startswith("conv"))
    with pytest.raises(ValueError, match="rank_multiple must be an integer of at least 1, got 0"):
        make_plan(lenet, Budget(macs=0.5), kernels, example=X, rank_multiple=0)


def test_a_plan_is_a_table(lenet):
    plan = make_plan(lenet, Budget(macs=0.5), ("tucker", "svd"), example=X)
    frame = plan.to_frame()
    assert list(frame.columns) == COLUMNS
    assert list(frame.index) == [*(row.name for row in plan.layers), "total"]
    for row in plan.layers:
        line = frame.loc[row.name]
        assert line["kernel"] == (row.kernel or "dense")
        assert line["spec"] == ", ".join(f"{key}={value}" for key, value in row.spec.items())
        assert (line["params_before"], line["macs_after"]) == (row.before.params, row.after.macs)
        assert line["reason"] == row.reason
    total = frame.loc["total"]
    assert Cost(*(int(total[f"{field}_before"]) for field in Cost._fields)) == plan.before == cost(lenet, X)
    assert Cost(*(int(total[f"{field}_after"]) for field in Cost._fields)) == plan.after
    assert total["error"] != total["error"]  # errors of layers have no sum


FREE = [
    ("dct", {"select": "lowest"}),
    ("dct", {"order": True}),
    ("dst", {"select": "lowest", "order": True}),
    ("dwt", {"wavelet": "db2", "levels": 2}),
    ("dct", {"select": "magnitude", "order": False}),
]


@pytest.mark.parametrize(("kernel", "spec"), FREE)
def test_a_hand_edited_transform_is_what_is_built_and_costs_what_it_says(lenet, tmp_path, kernel, spec):
    make_plan(lenet, Budget(params=0.5), (kernel,), example=X).save(tmp_path / "plan.json")
    data = json.loads((tmp_path / "plan.json").read_text())
    row = next(row for row in data["layers"] if row["name"] == "fc1")
    row["spec"] = {"keep": 900, "axes": [0, 1]} | spec
    (tmp_path / "plan.json").write_text(json.dumps(data))
    plan = Plan.load(tmp_path / "plan.json")
    small = compress(lenet, plan)
    transform = small.fc1.transform
    asked = {"select": "magnitude", "order": False, "levels": None, "wavelet": None} | spec
    assert {key: getattr(transform, key) for key in asked} == asked
    price = METHODS[kernel].cost(lenet.fc1, row["spec"], [])
    assert cost(small.fc1, torch.zeros(1, 400))._replace(macs=0) == price
    save(small, plan, tmp_path / "small")
    fresh = LeNet().eval()
    with torch.no_grad():
        assert torch.equal(load(tmp_path / "small", fresh)(X), small.eval()(X))


def test_order_without_a_channel_axis_is_refused(lenet):
    plan = make_plan(lenet, Budget(params=0.5), ("dct",), example=X)
    row = next(row for row in plan.layers if row.name == "conv2")
    rows = (replace(row, kernel="dct", spec={"keep": 9, "axes": [2, 3], "order": True}),)
    with pytest.raises(ValueError, match="plan for layer 'conv2': order must be False without 0 or 1 in axes"):
        compress(lenet, replace(plan, layers=rows))


HAND_EDITS = {
    "a layer": ({"name": "fc9"}, r"plan must be about layers that the model has, got \['fc9'\]"),
    "a path": ({"name": "../../x"}, r"plan must be about layers that the model has, got \['../../x'\]"),
    "twice": ({"name": "conv1"}, "plan must be of layers that are named once each"),
    "a kernel": ({"kernel": "fft"}, "plan for layer 'fc1': kernel must be one of svd, .*, got 'fft'"),
    "a rank": ({"kernel": "svd", "spec": {"rank": 121}}, "plan for layer 'fc1': rank must be 1 to 120, got 121"),
    "a key": (
        {"kernel": "svd", "spec": {"ranks": 4}},
        r"'fc1': keys of the spec must be exactly rank, got \['ranks'\]",
    ),
    "a spec": ({"kernel": "svd", "spec": [4]}, r"plan for layer 'fc1': spec must be a table of rank, got \[4\]"),
    "a method": (
        {"kernel": "tucker"},
        "layer 'fc1' must be a kernel that the layer can take, got 'tucker, but",
    ),
    "a selection": (
        {"kernel": "dct", "spec": {"keep": 9, "axes": [0, 1], "select": "highest"}},
        "plan for layer 'fc1': select must be one of magnitude, lowest, got 'highest'",
    ),
    "an order": (
        {"kernel": "dct", "spec": {"keep": 9, "axes": [0, 1], "order": "yes"}},
        "plan for layer 'fc1': order must be true or false, got 'yes'",
    ),
    "levels": (
        {"kernel": "dwt", "spec": {"keep": 9, "axes": [0, 1], "wavelet": "haar", "levels": 10}},
        "plan for layer 'fc1': levels must be 1 to 9, got 10",
    ),
    "levels of the dct": (
        {"kernel": "dct", "spec": {"keep": 9, "axes": [0, 1], "levels": 1}},
        "'fc1': keys of the spec must be exactly keep and axes, with or without select, order, got .*'levels'",
    ),
    "no name": ({"name": None}, "plan must be the JSON that Plan.save writes"),
    "a cost": ({"after": [1, "2", 3]}, r"plan must be the JSON .*3 numbers are wanted, not \[1, '2', 3\]"),
    "seconds": ({"seconds": [0.1]}, r"plan must be the JSON .*2 numbers are wanted, not \[0.1\]"),
}


@pytest.mark.parametrize("edit", HAND_EDITS)
def test_hand_edits_are_checked(lenet, tmp_path, edit):
    change, sentence = HAND_EDITS[edit]
    make_plan(lenet, Budget(macs=0.5), ("svd",), example=X).save(tmp_path / "plan.json")
    data = json.loads((tmp_path / "plan.json").read_text())
    row = next(row for row in data["layers"] if row["name"] == "fc1")
    row.update(change)
    (tmp_path / "plan.json").write_text(json.dumps(data))
    before = copy.deepcopy(lenet.state_dict())
    with pytest.raises(ValueError, match=sentence):
        compress(lenet, Plan.load(tmp_path / "plan.json"))
    assert all(torch.equal(a, b) for a, b in zip(before.values(), lenet.state_dict().values()))


BAD_REQUESTS = {
    "a fraction": ({"budget": 0.5}, r"budget must be a Budget, as Budget\(macs=0.5\), got 0.5"),
    "a text": ({"kernels": "svd"}, r"kernels must be a list of names, .*, got 'svd'"),
    "no batch": ({"example": X[:0]}, r"example must be a batch of at least one input \(n, ...\), got \(0, 1, 32, 32\)"),
    "a list": ({"example": [X]}, "example must be a batch of at least one input .*, got 'list'"),
    "a number": ({"example": torch.tensor(1.0)}, r"example must be a batch of at least one input .*, got \(\)"),
    "other stats": ({"stats": {}}, r"stats must be what calibrate\(model, batches\) returns, got 'dict'"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_what_cannot_be_asked_for_is_refused(lenet, name):
    arguments, sentence = BAD_REQUESTS[name]
    with pytest.raises(ValueError, match=sentence):
        make_plan(lenet, **{"budget": Budget(macs=0.5), "example": X} | arguments)


def test_a_network_without_numbers_is_refused(lenet):
    with pytest.raises(
        ValueError, match=r"model must be a network whose weights have numbers, got .* on the meta device"
    ):
        make_plan(lenet.to("meta"), Budget(macs=0.5), example=X.to("meta"))


def test_a_layer_without_weights_stays_dense_with_a_reason(lenet):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about the layer that the test makes
        lenet.fc3 = nn.Linear(84, 0)
    for kernels in (MIXED, ("dct",)):
        plan = make_plan(lenet, Budget(params=0.7), kernels, example=X)
        assert plan.layers[-1].reason == "it has no weights"
        assert compress(lenet, plan)(X).shape == (2, 0)
    rows = (replace(plan.layers[-1], kernel="svd", spec={"rank": 1}),)
    with pytest.raises(ValueError, match=r"layer 'fc3' must be a kernel .*, got 'svd, but it has no weights'"):
        compress(lenet, replace(plan, layers=rows))
