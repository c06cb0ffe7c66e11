"""Every verb refuses what it cannot do in one sentence, with exit code 2, and leaves nothing behind."""

import re
import shlex

import pytest
import torch
from images_on_disk import write_images
from refusals import REFUSALS, USUAL, refused
from run_folders import write_runs
from safetensors.torch import save_file

from experiments.__main__ import VERBS, main
from experiments.lab.models.lenet import LeNet
from experiments.lab.runs import record
from layers import Budget, make_plan


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the commands of the table are given: networks, a plan, images and runs, whole and spoilt."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "file").write_text("")
    (folder / "empty").mkdir()
    torch.manual_seed(0)
    model = LeNet()
    make_plan(model, Budget(macs=0.5), ("svd",), "energy", example=torch.zeros(1, 1, 32, 32)).save(folder / "plan.json")
    (folder / "torn.json").write_text('{"version": 1, "la')
    state = model.state_dict()
    save_file(state, folder / "lenet.safetensors")
    save_file(LeNet(classes=7).state_dict(), folder / "seven.safetensors")
    state["conv2.weight"][0, 0, 0, 0] = torch.nan
    save_file(state, folder / "nan.safetensors")
    (folder / "corrupt").write_bytes(b"not safetensors")
    (folder / "corrupt.safetensors").write_bytes(b"\x80\x04 not safetensors")
    write_images(folder / "images", ("train", "test"), (16, 16))
    (folder / "runs").mkdir()
    runs = write_runs(folder / "runs")
    for name in ("study", "other"):
        (runs / name).mkdir()
    record.write_json(runs / "study" / "results.json", {"config": {"model": "lenet"}, "layers": []})
    return folder


@pytest.mark.parametrize(("verb", "words"), [(verb, words) for verb, table in REFUSALS.items() for words in table])
def test_bad_input_is_refused_in_one_sentence(verb, words, folder, capsys, monkeypatch):
    monkeypatch.delenv("MASTER_ADDR", raising=False)  # no other process starts this one
    given = [verb, *shlex.split(words)]
    for option, value in USUAL.get(verb, {}).items():
        given += [] if option in given else [option, value]
    given = [word.replace("TMP", str(folder)).replace("FILE", f"{folder}/lenet.safetensors") for word in given]
    error = refused(main, given, folder, capsys)
    assert re.match(f"error: {REFUSALS[verb][words]}", error), error


def test_every_verb_refuses_something():
    assert REFUSALS.keys() == set(VERBS)
