"""Checkpoints in the forms that training scripts write them, and those that are refused in one sentence."""

import argparse
import random

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from experiments.lab.models.checkpoints import load_checkpoint
from experiments.lab.models.cifar_resnet import resnet20


def make():
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3))


class Wrapper(nn.Module):
    """A network with an attribute of its own that is called as DataParallel calls what it wraps."""

    def __init__(self):
        super().__init__()
        self.module = make()


torch.manual_seed(0)
NET, WRAPPER = make(), Wrapper()
for trained in (NET, WRAPPER):
    for parameter in trained.parameters():
        nn.init.normal_(parameter)
OWN = NET.state_dict()


def behind(prefix, tensors=OWN):
    return {prefix + name: tensor for name, tensor in tensors.items()}


OTHER = {name: tensor + 1 for name, tensor in OWN.items()}
FORMS = {  # name: content, network that is filled; its weights are those of NET or WRAPPER
    "plain": (OWN, make),
    "before torch 0.4.1": ({name: tensor for name, tensor in OWN.items() if "num_batches" not in name}, make),
    "an attribute called module": (WRAPPER.state_dict(), Wrapper),
    "DataParallel": (behind("module."), make),
    "torch.compile": (behind("_orig_mod."), make),
    "DDP of torch.compile": (behind("module._orig_mod."), make),
    "torch.compile of DDP": (behind("_orig_mod.module."), make),
    "a compiled part": ({name.replace("0.", "0._orig_mod."): tensor for name, tensor in OWN.items()}, make),
    "AveragedModel": (torch.optim.swa_utils.AveragedModel(NET).state_dict(), make),
    "Lightning": (behind("model.") | {"criterion.weight": torch.ones(3)}, make),
    "Lightning and its average": (behind("model.") | behind("model_ema.module.", OTHER), make),
    "a prefix of one's own": (behind("backbone.body."), make),
}
NESTS = {
    "not nested": lambda tensors: tensors,
    "state_dict": lambda tensors: {"epoch": 3, "state_dict": tensors, "hyper_parameters": {"lr": 0.1}},
    "net": lambda tensors: {"net": tensors, "acc": 91.2, "epoch": 100},
    "deep": lambda tensors: {"run": {"weights": {"generator": tensors}}},
    "an average alone": lambda tensors: {"state_dict_ema": tensors},
    "beside its average": lambda tensors: {"ema": behind("", OTHER), "model": tensors},
    "beside an optimiser": lambda tensors: {
        "optimizer": torch.optim.SGD(NET.parameters(), 0.1).state_dict(),
        "m": tensors,
    },
    "with plain data": lambda tensors: {"model": tensors, "args": argparse.Namespace(lr=0.1), "best": np.float64(91.2)},
}


def assert_filled(kind, path):
    filled = kind()
    load_checkpoint(filled, path)
    right = (WRAPPER if kind is Wrapper else NET).state_dict()
    assert all(
        torch.equal(right[name], tensor) for name, tensor in filled.state_dict().items() if "batches" not in name
    )


@pytest.mark.parametrize("form", FORMS)
def test_prefixes_are_taken_off_where_they_are_no_part_of_the_names(form, tmp_path):
    content, kind = FORMS[form]
    torch.save(content, tmp_path / "net.pth")
    save_file({name: tensor.clone() for name, tensor in content.items()}, tmp_path / "net.safetensors")
    for name in ("net.pth", "net.safetensors"):
        assert_filled(kind, tmp_path / name)


@pytest.mark.parametrize("nest", NESTS)
def test_the_weights_are_found_wherever_a_script_put_them(nest, tmp_path):
    torch.save(NESTS[nest](OWN), tmp_path / "net.pth")
    assert_filled(make, tmp_path / "net.pth")


@pytest.mark.parametrize("name", ["net.ckpt", "net.pth.tar", "net.bin", "net.pkl", "net", "net.safetensors"])
@pytest.mark.parametrize("zipped", [True, False])
def test_the_format_is_told_by_the_content_not_by_the_ending(name, zipped, tmp_path):
    torch.save({"state_dict": OWN}, tmp_path / name, _use_new_zipfile_serialization=zipped)
    assert_filled(make, tmp_path / name)
    save_file(OWN, tmp_path / "other.pth")
    assert_filled(make, tmp_path / "other.pth")


def test_which_weights_were_taken_is_said(tmp_path, caplog):
    caplog.set_level("INFO", "experiments")
    torch.save({"ema": OTHER, "model": behind("module.")}, tmp_path / "net.pth")
    load_checkpoint(make(), tmp_path / "net.pth")
    assert [record.getMessage() for record in caplog.records] == ["net.pth: the weights are model module.*"]


class Code:
    """What a hostile file could hold."""

    def __reduce__(self):
        return (open, ("written", "w"))


def damaged(path):
    torch.save(OWN, path)
    path.write_bytes(path.read_bytes()[:900])


def archive_of_numpy(path):
    with path.open("wb") as file:
        np.savez(file, **OWN)


def exported_program(path):
    torch.export.save(torch.export.export(make(), (torch.ones(1, 1, 4, 4),)), path.with_suffix(".pt2"))
    path.with_suffix(".pt2").rename(path)


REFUSED = {  # name: what writes the file, the sentence
    "code": (
        lambda path: torch.save({"state_dict": Code()}, path),
        "alone, got .* .it holds .*open, which is no tensor",
    ),
    "a whole network": (
        lambda path: torch.save(NET, path),
        "it holds torch.nn.modules.container.Sequential, which is no",
    ),
    "cut off": (damaged, "alone, got .* .it is cut off, damaged, or holds more than tensors"),
    "a pickle of no tensors": (lambda path: torch.save([1, 2], path), "checkpoint must be a file of a state_dict"),
    "a scripted network": (lambda path: torch.jit.save(torch.jit.script(NET), path), "it is a scripted network"),
    "an archive of NumPy": (archive_of_numpy, "it is an archive, but none of torch.save"),
    "an exported program": (exported_program, "it is an archive, but none of torch.save"),
    "shapes alone": (
        lambda path: torch.save({name: tensor.to("meta") for name, tensor in OWN.items()}, path),
        "0.weight of .* must be one with numbers, got 'a tensor of the meta device'",
    ),
    "text": (lambda path: path.write_text("accuracy 91.2"), "must be a safetensors file or one that torch.save wrote"),
    "an empty file": (lambda path: path.touch(), "must be a safetensors file or one that torch.save wrote"),
    "a folder": (lambda path: path.mkdir(), "checkpoint must be a file, not a folder, got"),
    "nothing": (lambda path: None, "checkpoint must be a file that exists, got"),
    "another network": (
        lambda path: torch.save(resnet20(classes=3).state_dict(), path),
        "must hold the tensors of Sequential, got: ",
    ),
    "two networks": (
        lambda path: torch.save(behind("student.") | behind("helper.", OTHER), path),
        "checkpoint must be of one network, not of helper., student.",
    ),
    "int8": (
        lambda path: torch.save(OWN | {"3.weight": OWN["3.weight"].to(torch.int8)}, path),
        "3.weight of .* must be of floating numbers, got 'torch.int8'",
    ),
    "complex": (
        lambda path: torch.save(OWN | {"3.weight": OWN["3.weight"] * 1j}, path),
        "3.weight of .* must be of floating numbers, got 'torch.complex64'",
    ),
    "sparse": (
        lambda path: torch.save(OWN | {"3.weight": OWN["3.weight"].to_sparse()}, path),
        "3.weight of .* must be a dense tensor, got 'sparse_coo'",
    ),
    "quantised": (
        lambda path: torch.save(
            OWN | {"3.weight": torch.quantize_per_tensor(OWN["3.weight"], 0.1, 0, torch.qint8)}, path
        ),
        "3.weight of .* must be a dense tensor, got 'quantised'",
    ),
    "one NaN": (
        lambda path: torch.save(OWN | {"0.weight": OWN["0.weight"].index_fill(0, torch.tensor(2), torch.nan)}, path),
        "0.weight of .* must be finite numbers, got '9 NaN, 0 infinite'",
    ),
    "infinity": (
        lambda path: torch.save(OWN | {"3.bias": torch.tensor([0, torch.inf, 0])}, path),
        "3.bias of .* must be finite numbers, got '0 NaN, 1 infinite'",
    ),
}


@pytest.mark.filterwarnings("ignore:.*(TorchScript|torch.jit|quantiz|is deprecated)")  # of what writes the files
@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_refused_is_said_in_one_sentence_without_advice_to_run_it(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write, words = REFUSED[kind]
    path = tmp_path / "net.pth"
    write(path)
    with pytest.raises(ValueError, match=words) as refusal:
        load_checkpoint(make(), path)
    assert "weights_only" not in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "written").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_whatever_is_damaged_is_read_or_refused_in_a_sentence(zipped, tmp_path):
    path, draw = tmp_path / "net.pth", random.Random(0)
    torch.save({"state_dict": OWN, "epoch": 3}, path, _use_new_zipfile_serialization=zipped)
    whole, sentences = path.read_bytes(), []
    for _ in range(150):
        spoilt = bytearray(whole[: draw.randrange(len(whole)) if draw.random() < 0.2 else len(whole)])
        for _ in range(draw.choice((1, 2, 8)) if spoilt else 0):
            spoilt[draw.randrange(len(spoilt))] = draw.randrange(256)
        path.write_bytes(spoilt)
        try:
            load_checkpoint(make(), path)
        except ValueError as error:
            sentences.append(str(error))
    assert len(sentences) > 50
    assert not any("\n" in sentence for sentence in sentences)


def test_a_buffer_may_mask_by_infinity(tmp_path):
    network = make()
    network.register_buffer("mask", torch.full((2, 2), -torch.inf).triu(1))
    torch.save(network.state_dict(), tmp_path / "net.pth")
    network.mask.zero_()
    load_checkpoint(network, tmp_path / "net.pth")
    assert network.mask.tolist() == [[0, -torch.inf], [0, 0]]


def test_shapes_that_do_not_fit_are_named(tmp_path):
    torch.save(resnet20().state_dict(), tmp_path / "whole.pth")
    with pytest.raises(ValueError, match=r"linear.weight has shape \(10, 64\) instead of \(3, 64\)"):
        load_checkpoint(resnet20(classes=3), tmp_path / "whole.pth")
