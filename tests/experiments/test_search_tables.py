"""The tables of a search: what nothing beats, the best configurations, and whether search adds more than chance."""

import math

import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from optuna.trial import TrialState

from experiments.search import gain as compare, outcome, tables
from layers import Cost


def test_a_pruned_trial_has_no_loss_and_no_place_in_the_front():
    study = optuna.create_study()
    for value, plan in ((0.5, "a"), (None, "b"), (0.4, "c"), (0.4, "c")):
        asked = study.ask()
        for name, attribute in {"params": 10, "macs": 10, "bytes": 10, "plan": plan}.items():
            asked.set_user_attr(name, attribute)
        if value is None:
            asked.report(61.7, 0)  # percent wrong
            study.tell(asked, state=TrialState.PRUNED)
        else:
            asked.set_user_attr("val_top1", 100 * value)
            study.tell(asked, value)
    table = tables.trials({"macs=0.5": study}, Cost(20, 20, 20))
    assert table.val_loss.isna().tolist() == [False, True, False, False]
    assert table.front.tolist() == [True, False, False, False]
    assert table.params_kept.tolist() == [0.5] * 4


def test_what_nothing_beats():
    points = np.array([[1.0, 5.0], [2.0, 3.0], [2.0, 4.0], [3.0, 3.0], [2.0, 3.0], [4.0, 1.0]])
    assert tables.undominated(points).tolist() == [True, True, False, False, True, True]


def test_the_best_configurations_are_within_two_points_or_save_three_tenths():
    rows = [
        ("macs=0.5", 0, "complete", 90.0, 0.30, 0.5, 0.6),
        ("macs=0.5", 1, "complete", 88.0, 0.35, 0.4, 0.8),
        ("macs=0.5", 2, "complete", 87.9, 0.25, 0.3, 0.5),
        ("macs=0.5", 3, "pruned", 95.0, float("nan"), 0.1, 0.1),
    ]
    names = ["budget", "trial", "state", "val_top1", "val_loss", "macs_kept", "params_kept"]
    table = pd.DataFrame(rows, columns=names)
    table = table.assign(macs=100 * table.macs_kept, params=100 * table.params_kept, bytes_kept=table.params_kept)
    assert tables.best(table, 90.0).trial.tolist() == [0, 1, 0, 2]
    none = tables.best(table, 99.0)
    assert none.trial.isna().tolist() == [True, True, False, False]
    assert outcome.percentages(none).trial.tolist() == ["", "", "0", "2"]


def test_what_search_adds_is_said_with_its_chance():
    before, after = torch.tensor([True] * 80 + [False] * 20), torch.tensor([True] * 78 + [False] * 2 + [True] * 20)
    points, error = compare.paired(before, after)
    assert points == pytest.approx(18.0)
    assert error == pytest.approx(1.96 * 100 * math.sqrt((22 - 18**2 / 100) / 100**2))
    assert compare.paired(before, before) == (0.0, 0.0)
    row = compare.Compared("macs=0.5", "loss", 0, 1, 1, 1, 90.0, 0.5, 89.0, 0.6)
    rows = {"loss": row, "search": row._replace(plan="search", trial=7, val_loss=0.45, val_top1=91.0)}
    for gain, verdict in ((0.3, "no more than chance"), (0.6, "better"), (-0.6, "worse")):
        words = compare.words(compare.Gain("macs=0.5", 7, gain, 0.4), rows, 100, (500, 10000))
        assert words.endswith(f"on 10,000 test images that is {gain:+.2f} ± 0.40 points: {verdict}")
        assert "trial 7 of 100 changes the loss on 500 validation images" in words
    assert "adds nothing: none of 100" in compare.words(compare.Gain("macs=0.5", 0, 0, 0), rows, 100, (500, 10000))
