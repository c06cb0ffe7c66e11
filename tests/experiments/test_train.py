"""Training: a step by hand, and what cannot go on says why in one sentence."""

import copy
import re
import resource
import signal
from dataclasses import replace

import pytest
import torch
from little import PLAIN, Linear, fit, little
from torch import nn

from experiments.lab.models.lenet import LeNet
from experiments.lab.training import checkpoint
from experiments.lab.training.stopped import Diverged, NoRoom, Stopped
from experiments.run.__main__ import main
from layers import METHODS


def test_one_step_of_gradient_descent_by_hand():
    dataset, model = little(), Linear()
    images, labels, *_ = dataset.train()
    fit(model, dataset)
    x = ((images.float() / 255 - 0.5) / 0.3).flatten(1)
    # at zero weights the softmax is 1/2 everywhere, so dL/dlogit = 1/2 - [class]
    error = 0.5 - torch.nn.functional.one_hot(labels, 2).float()
    torch.testing.assert_close(model[1].weight, -0.1 * error.T @ x / len(x))
    torch.testing.assert_close(model[1].bias, -0.1 * error.mean(0))


@pytest.mark.parametrize("kernel", ["cp", "cp4"])
def test_the_factors_of_cp_share_every_term_evenly(kernel):
    """What lets CP be fine-tuned at the learning rates of the other kernels: one steep factor limits all others."""
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 12, 3)
    *terms, last = (conv.weight for conv in METHODS[kernel].build(layer, {"rank": 5}) if hasattr(conv, "weight"))
    norms = [weight.detach().flatten(1).norm(dim=1) for weight in terms]
    for norm in norms:
        torch.testing.assert_close(norm, last.detach().flatten(1).norm(dim=0))


class Broken(nn.Module):
    """A network that can evaluate but not learn, for one reason or another."""

    def __init__(self, why):
        super().__init__()
        self.why, self.steps, self.linear = why, 0, nn.Linear(16, 2)

    def forward(self, x):
        self.steps += self.training
        y = self.linear(x.flatten(1))
        if self.training and self.why == "forward":
            raise KeyError("no such layer")
        if self.training and self.why == "graph":
            return y.detach()
        if self.training and self.why == "memory":
            torch.empty(2**60)
        return y * float("nan") if self.why == "third loss" and self.steps == 3 else y


@pytest.mark.parametrize(
    ("why", "words"),
    [
        ("forward", r"first batch of 64x1x4x4, got KeyError: 'no such layer' at .*test_train.py:\d+$"),
        ("graph", "first batch of 64x1x4x4, got RuntimeError: element 0 of tensors does not require grad"),
    ],
)
def test_a_model_that_fails_on_the_first_batch(why, words):
    with pytest.raises(Stopped, match=words):
        fit(Broken(why), little())


def test_a_first_batch_without_room_is_told_from_other_failures():
    with pytest.raises(NoRoom, match=r"first batch of 64x1x4x4, got RuntimeError: .*can't allocate memory"):
        fit(Broken("memory"), little())
    with pytest.raises(Stopped) as other:
        fit(Broken("forward"), little())
    assert type(other.value) is Stopped


def test_a_loss_that_is_no_number_names_its_step():
    with pytest.raises(Diverged, match="loss must be finite, got nan at step 3: try a lower --lr"):
        fit(Broken("third loss"), little(), batch=16)
    with pytest.raises(Diverged, match=r"got (nan|inf) at step"):
        fit(Linear(zero=False), little(), lr=1e38, epochs=5)


def make_broken(classes, channels):
    class Network(LeNet):
        def forward(self, x):
            if self.training:
                raise KeyError("no such layer")
            return super().forward(x)

    return Network(classes, channels)


SHORT = ["--no-track", "--max-epochs", "2", "--finetune-epochs", "0", "--kernel", "svd", "--rep"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "test_train:make_broken"], "model must train on a first batch of 64x1x32x32, got KeyError"),
        (["--lr", "1e30"], "loss must be finite, got .* at step [0-9]+: try a lower --lr, --clip 1"),
        (["--clip", "0"], "clip must be above 0, got 0.0"),
    ],
)
def test_what_cannot_go_on_ends_the_command_with_2_and_one_sentence(arguments, words, tmp_path, capsys):
    assert main([*SHORT, *arguments, "--out", str(tmp_path)]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.match(f"error: {words}", last), last
    assert not list(tmp_path.rglob("*.safetensors"))


def test_on_a_full_disk_the_old_checkpoint_survives_and_the_run_goes_on_later(tmp_path, capsys):
    """The disk is full for files above a limit, set between the first checkpoint and the second."""
    files, old = checkpoint.WholeFiles(), tmp_path / "x.ckpt"
    files.save_checkpoint({"weights": torch.zeros(10)}, old)
    before = old.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails as it does without room
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            files.save_checkpoint({"weights": torch.zeros(100_000)}, old)
        assert old.read_bytes() == before
        assert list(tmp_path.iterdir()) == [old]  # nothing half-written beside it
        assert main([*SHORT, "--out", str(tmp_path / "runs")]) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"error: out must be a folder with room for the run, got .*File too large", last)
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]
    assert main([*SHORT, "--out", str(tmp_path / "runs")]) == 0


def test_fine_tuning_ends_with_what_it_was_given_unless_an_epoch_is_more_accurate():
    dataset, trained = little(), Linear()
    assert fit(trained, dataset, lr=0.1, epochs=5) == 100
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    ruined = replace(PLAIN, weight_decay=100.0)  # every step flips the signs of all weights
    unkept = fit(copy.deepcopy(trained), dataset, ruined, epochs=1)
    kept = fit(trained, dataset, ruined, epochs=3, keep_start=True)
    assert unkept < kept == 100
    for name, tensor in trained.state_dict().items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=0)


def test_fine_tuning_that_is_taken_up_again_still_knows_the_weights_it_began_with(tmp_path):
    dataset, trained, path = little(), Linear(), tmp_path / "x.ckpt"
    fit(trained, dataset, epochs=5)
    before = trained[1].weight.clone()
    ruined = replace(PLAIN, weight_decay=100.0)
    fit(copy.deepcopy(trained), dataset, ruined, epochs=2, keep_start=True, checkpoint=path)
    again = Linear()  # all that it goes on from is in the checkpoint
    assert fit(again, dataset, ruined, epochs=3, keep_start=True, checkpoint=path) == 100
    torch.testing.assert_close(again[1].weight, before, rtol=0, atol=0)


def test_fine_tuning_that_helps_is_kept():
    dataset, model = little(), Linear()
    assert fit(model, dataset, epochs=5, keep_start=True) == 100
    assert model[1].weight.abs().max() > 0
