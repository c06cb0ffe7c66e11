"""The widths of a thinner network, as checkpoints keep them: every lie about them gives one sentence."""

import copy
import json

import pytest
import torch
from loaders import loader
from networks import network

from layers import Budget, Cost, Plan, compress, cost, load, make_plan, prune_channels, save

NONE = Cost(0, 0, 0)


def thin_layer(data, name):
    """What loader.py is told of it."""
    return data["modules"]["layers"][f"{name}."][0][1]


LIES = {  # what a hostile plan.json says
    "a layer that is none": lambda d: d["widths"].update(nowhere={"out_channels": 3}),
    "no single layer": lambda d: d["widths"].update({"": {"out_channels": 3}}),
    "a path": lambda d: d["widths"].update({"../conv1": {"out_channels": 3}}),
    "another attribute": lambda d: d["widths"]["conv1"].update(padding_mode="circular"),
    "a method": lambda d: d["widths"]["conv1"].update(forward=1),
    "a class": lambda d: d["widths"]["conv1"].update(__class__=1),
    "of another kind of layer": lambda d: d["widths"]["conv1"].update(out_features=3),
    "negative": lambda d: d["widths"]["conv1"].update(out_channels=-3),
    "none left": lambda d: d["widths"]["conv1"].update(out_channels=0),
    "huge": lambda d: d["widths"]["conv1"].update(out_channels=1 << 40),
    "a fraction": lambda d: d["widths"]["conv1"].update(out_channels=3.0),
    "a text": lambda d: d["widths"]["conv1"].update(out_channels="3"),
    "true": lambda d: d["widths"]["conv1"].update(out_channels=True),
    "not that of the tensors": lambda d: d["widths"]["conv1"].update(out_channels=4),
    "as the dense network": lambda d: d["widths"].pop("conv1"),
    "groups that do not divide": lambda d: d["widths"]["conv2"].update(groups=0),
    "a list": lambda d: d.update(widths=["conv1"]),
    "a list of widths": lambda d: d["widths"].update(conv1=["out_channels"]),
    "none": lambda d: d.pop("widths"),
}
LOADER_LIES = {
    "a layer that is none": lambda d: d["modules"]["layers"].update({"nowhere.": d["modules"]["layers"]["conv1."]}),
    "a path": lambda d: d["modules"]["layers"].update({"../conv1.": d["modules"]["layers"]["conv1."]}),
    "another class": lambda d: d["modules"]["layers"]["conv1."][0].__setitem__(0, "LSTM"),
    "another attribute": lambda d: thin_layer(d, "conv1").update(forward=1),
    "negative": lambda d: thin_layer(d, "conv1").update(out_channels=-3),
    "none left": lambda d: thin_layer(d, "conv1").update(out_channels=0),
    "huge": lambda d: thin_layer(d, "conv1").update(out_channels=1 << 40),
    "a text": lambda d: thin_layer(d, "conv1").update(out_channels="3"),
    "not that of the tensors": lambda d: thin_layer(d, "conv1").update(out_channels=4),
    "groups that do not divide": lambda d: thin_layer(d, "conv2").update(groups=3, in_channels=4),
    "as the dense network": lambda d: d["modules"]["layers"].pop("conv1."),
    "no layers in a row": lambda d: d["modules"]["layers"].update({"conv1.": []}),
}


@pytest.mark.parametrize(("which", "lie"), [*(("load", x) for x in LIES), *(("loader", x) for x in LOADER_LIES)])
def test_lies_about_widths_give_one_sentence(which, lie, tmp_path):
    model, x = network("lenet")
    thin, widths = prune_channels(model, 0.5, x)
    save(thin, Plan((), Budget(params=1.0), "energy", cost(model, x), cost(thin, x), widths=widths), tmp_path / "thin")
    path, read = tmp_path / "thin" / "plan.json", load if which == "load" else loader(tmp_path / "thin")
    data, before = json.loads(path.read_text()), copy.deepcopy(model.state_dict())
    (LIES if which == "load" else LOADER_LIES)[lie](data)
    path.write_text(json.dumps(data))
    with pytest.raises(ValueError, match=r"must .*got") as error:
        read(tmp_path / "thin", model)
    assert "\n" not in str(error.value)
    assert all(torch.equal(a, b) for a, b in zip(before.values(), model.state_dict().values()))


def test_checkpoints_of_before_there_were_widths_load(tmp_path):
    model, x = network("lenet")
    plan = make_plan(model, Budget(params=0.5), ("svd",), example=x)
    small = compress(model, plan)
    save(small, plan, tmp_path / "small")
    path = tmp_path / "small" / "plan.json"
    data = json.loads(path.read_text())
    assert data.pop("widths") == {}
    path.write_text(json.dumps(data))
    for read in (load, loader(tmp_path / "small")):
        assert torch.equal(read(tmp_path / "small", model)(x), small(x))


@pytest.mark.parametrize("kernels", [("svd", "spatial"), ("dct",)])
def test_a_thinner_network_is_saved_without_a_word_about_its_widths(kernels, tmp_path):
    model, x = network("lenet")
    thin = prune_channels(model.eval(), 0.5, x).model  # in eval mode a transform decodes as loader.py does
    plan = make_plan(thin, Budget(params=0.8), kernels, example=x)
    assert not plan.widths
    small = compress(thin, plan)
    save(small, plan, tmp_path / "small")
    assert Plan.load(tmp_path / "small" / "plan.json").widths
    with torch.no_grad():
        for read in (load, loader(tmp_path / "small")):
            assert torch.equal(read(tmp_path / "small", model)(x), small(x))


def test_a_network_that_was_made_thinner_twice_is_read_into_the_dense_one(tmp_path):
    model, x = network("lenet")
    once = prune_channels(model, 0.25, x)
    twice = prune_channels(once.model, 0.25, x)
    save(twice.model, Plan((), Budget(params=1.0), "energy", NONE, NONE, widths=twice.widths), tmp_path / "thin")
    for read in (load, loader(tmp_path / "thin")):
        assert torch.equal(read(tmp_path / "thin", model)(x), twice.model(x))
    save(load(tmp_path / "thin", model), Plan.load(tmp_path / "thin" / "plan.json"), tmp_path / "again")
    assert torch.equal(load(tmp_path / "again", model)(x), twice.model(x))
