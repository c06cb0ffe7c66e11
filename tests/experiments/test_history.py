"""The history of a run: one row an epoch, also where it was killed and resumed."""

from types import SimpleNamespace

import pytest
import torch

from experiments.lab.recipes import evidence
from experiments.lab.runs import history
from experiments.lab.runs.epochs import History
from experiments.list import main as list_runs


class Told(list):
    """A follower that remembers."""

    def epoch(self, network, number, metrics):
        self.append((network, number, metrics))


def epoch(callback, number, losses, clock, seconds, val=None):
    trainer = SimpleNamespace(is_global_zero=True, current_epoch=number, callback_metrics={} if val is None else val)
    callback.on_train_epoch_start(trainer, None)
    for loss in losses:
        callback.on_train_batch_end(trainer, None, {"loss": torch.tensor(loss)}, None, 0)
    clock[0] += seconds
    callback.on_train_epoch_end(trainer, torch.nn.Identity())


def test_history_of_a_run_that_was_killed_and_resumed(tmp_path):
    clock, told = [0.0], Told()
    dense = History(tmp_path, "dense", told, lambda: clock[0])
    svd = History(tmp_path, "svd", told, lambda: clock[0])
    epoch(dense, 0, [1.0, 3.0], clock, 5.0, {"val_top1": torch.tensor(50.0)})
    epoch(svd, 0, [1.0], clock, 7.0)
    epoch(dense, 1, [1.0], clock, 4.0)
    again = History(tmp_path, "dense", told, lambda: clock[0])
    epoch(again, 1, [0.5], clock, 3.0)  # the second epoch is trained again, from a checkpoint of the first
    assert [(r["network"], r["epoch"], r["train_loss"], r["seconds"]) for r in history.read(tmp_path)] == [
        ("dense", 0, 2.0, 5.0),
        ("svd", 0, 1.0, 7.0),
        ("dense", 1, 0.5, 3.0),
    ]
    assert history.read(tmp_path)[0]["val_top1"] == 50.0
    assert (history.seconds(tmp_path, "dense"), history.seconds(tmp_path, "svd")) == (8.0, 7.0)
    assert len(told) == 4


@pytest.mark.parametrize("text", ["[{", '{"network": "dense"}', '[{"epoch": 0}]', "\x00", "[1]"])
def test_a_history_that_is_torn_or_foreign_is_a_sentence_and_the_list_of_runs_goes_on(text, tmp_path, capsys):
    run = tmp_path / "digits-lenet-1"
    run.mkdir()
    (run / "config.json").write_text("{}")
    (run / "history.json").write_text(text)
    with pytest.raises(ValueError, match=r"^history.json must be (whole|what experiments.run wrote).*--force"):
        history.read(run)
    assert list_runs(["--runs", str(tmp_path)]) == 0
    assert "unreadable" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["{", "[]"])
def test_evidence_that_is_torn_or_foreign_is_a_sentence(text, tmp_path):
    (tmp_path / "evidence.json").write_text(text)
    with pytest.raises(ValueError, match=r"^evidence.json must be (whole|what experiments.run wrote)"):
        evidence.read(tmp_path)
