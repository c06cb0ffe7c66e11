"""`experiments.search` as a user calls it: on real images, with any number of workers, every refusal in a sentence."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import optuna
import pandas as pd
import pytest
from browser import look_over
from optuna.trial import TrialState
from PIL import Image
from searches import never, random_lenet, search_of

from experiments.lab.config import Network
from experiments.lab.evaluation.evaluate import accuracy
from experiments.lab.models.lenet import LeNet
from experiments.lab.trials.config import Workers
from experiments.lab.trials.storage import WORKER, open_storage, open_study
from experiments.search import outcome, trial
from experiments.search.__main__ import main
from experiments.search.config import Search, Trials
from experiments.search.page import HEADS
from experiments.search.policy import LIMIT
from experiments.search.sampler import PolicySampler
from layers import Plan, cost, load

ROOT = Path(__file__).parents[2]
QUICK = "--budget params=0.3 --kernel svd spatial --epochs 0 --calibration-images 200 --accelerator cpu"
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # heartbeats are, to Optuna


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return random_lenet(tmp_path_factory.mktemp("weights"))


def trials_of(folder, budget="params=0.3"):
    storage = open_storage(f"sqlite:///{folder / 'study.db'}", 60, 3)
    found = optuna.load_study(study_name=f"{folder.name} {budget}", storage=storage).get_trials()
    storage.engine.dispose()
    return found


@pytest.fixture(scope="module")
def found(checkpoint, tmp_path_factory):
    """(the study's folder, arguments) of five trials of either budget."""
    out = tmp_path_factory.mktemp("runs")
    arguments = [*QUICK.split(), "--budget", "params=0.3", "params=0.6", "--checkpoint", str(checkpoint)]
    arguments += ["--out", str(out)]
    assert main([*arguments, "--trials", "5"]) == 0
    (folder,) = out.iterdir()
    return folder, arguments


@pytest.mark.slow
def test_its_page_in_a_browser(found, chromium):
    """Of the template whose pages of a run, a comparison, a sweep and a study are always looked at."""
    look_over(chromium, found[0] / "report.html")


def test_the_tables_the_figure_and_the_page(found):
    folder, _ = found
    table = pd.read_csv(folder / "trials.csv")
    assert [*table.budget] == ["params=0.3"] * 5 + ["params=0.6"] * 5
    assert (table.params_kept <= table.budget.str[-3:].astype(float)).all()
    first = table[table.trial == 0]
    assert (first.filter(like="policy ") == 0).all(axis=None)
    front = pd.read_csv(folder / "front.csv")
    rounded = {name: table[name].round(3) for name in ("macs_kept", "params_kept")}
    table, front = table.assign(**rounded), front.round({"macs_kept": 3, "params_kept": 3})
    for _, row in front.iterrows():
        beats = (table.macs_kept <= row.macs_kept) & (table.params_kept <= row.params_kept)
        beats &= (table.val_top1 >= row.val_top1) & (
            (table.macs_kept < row.macs_kept) | (table.params_kept < row.params_kept) | (table.val_top1 > row.val_top1)
        )
        assert not beats.any()
    assert len(front) == table.front.sum() >= 1
    best = pd.read_csv(folder / "best.csv").set_index("best")
    for budget, group in table.groupby("budget"):
        assert best.loc[f"lowest validation loss, {budget}"].val_loss == group.val_loss.min()
    page = (folder / "report.html").read_text()
    heads = [head for head, _ in HEADS.values()]
    for words in (*heads, "The best plan, params=0.3", "Ship ", "fewer parameters", "python -m experiments.search"):
        assert words in page
    found = json.loads((folder / "found.json").read_text())
    assert set(found["right"]) >= {"dense", "loss at params=0.3", "loss at params=0.6"}
    assert "McNemar" in page
    with Image.open(folder / "search.png") as image:
        assert len(image.convert("RGB").getcolors(1 << 24)) > 50  # something is drawn
    assert (folder / "search.pdf").read_bytes().startswith(b"%PDF")


def test_the_best_network_of_each_budget_and_what_is_said_of_it(found, checkpoint):
    folder, _ = found
    job, recipes = trial.check(search_of(checkpoint, budget=("params=0.3", "params=0.6")))
    rows = pd.read_csv(folder / "comparison.csv").set_index(["budget", "plan"])
    said = json.loads((folder / "found.json").read_text())["said"]
    for budget, how in recipes.items():
        plan, again = Plan.load(folder / budget / "plan.json"), load(folder / budget, LeNet())
        row = rows.loc[budget, "search"]
        assert cost(again, job.example[:1]).params == row.params <= how.budget.fraction * plan.before.params
        right = accuracy(again, job.dataset.test(), job.dataset, "cpu")
        assert (right.top1, right.loss) == pytest.approx((row.test_top1, row.test_loss))
        best = min(trials_of(folder, budget), key=lambda t: t.value)
        assert row.trial == best.number
        assert row.val_loss == pytest.approx(best.value, rel=1e-6)
        assert row.val_loss <= rows.loc[budget, "loss"].val_loss
        layers = pd.read_csv(folder / budget / "layers.csv").set_index("layer")
        assert layers.params_after["total"] == row.params
        (sentence,) = [words for words in said if words.startswith(budget)]
        assert ("adds nothing" in sentence) == (best.number == 0)


def test_more_trials_continue_and_a_finished_search_is_not_repeated(found, monkeypatch, capsys):
    folder, arguments = found
    before = [(t.number, t.value) for t in trials_of(folder)]
    table = (folder / "comparison.csv").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(outcome, "compare", never)
        assert main([*arguments, "--trials", "5"]) == 0
    assert "test top-1" in capsys.readouterr().out
    assert (folder / "comparison.csv").read_text() == table
    assert main([*arguments, "--trials", "6"]) == 0
    after = [(t.number, t.value) for t in trials_of(folder)]
    assert after[:5] == before
    assert len(after) == 6
    assert len(pd.read_csv(folder / "trials.csv")) == 12


@pytest.mark.slow
def test_two_processes_do_so_many_trials_together(checkpoint, tmp_path):
    """As those of the queue do that they share: test_workers.py, four processes and a file."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [*QUICK.split(), "--checkpoint", str(checkpoint), "--out", str(tmp_path), "--trials", "6"]
    other = subprocess.Popen(
        [sys.executable, "-m", "experiments.search", *words], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        while not list(tmp_path.glob("*/study.db")):  # the other has begun
            assert other.poll() is None
            time.sleep(0.05)
        assert main(words) == 0
        assert other.wait(timeout=120) == 0
    finally:
        other.kill()
    (folder,) = tmp_path.iterdir()
    complete = [t for t in trials_of(folder) if t.state == TrialState.COMPLETE]
    assert len(complete) == 6
    assert len({tuple(t.params.values()) for t in complete}) == 6
    assert all(WORKER in t.user_attrs for t in complete)
    assert json.loads((folder / "found.json").read_text())["trials"] == {"params=0.3": 6}


def test_other_settings_or_weights_do_not_join_a_study(checkpoint, tmp_path, capsys):
    storage = open_storage(f"sqlite:///{tmp_path / 'a.db'}", 60, 3)
    search = search_of(checkpoint)
    open_study(storage, "ours params=0.3", search.flat("0a1b2c3d"), PolicySampler(0, {}, LIMIT), "none", "minimize")
    storage.engine.dispose()
    words = [*QUICK.split(), "--checkpoint", str(checkpoint), "--study-name", "ours", "--out", str(tmp_path)]
    assert main([*words, "--storage", f"sqlite:///{tmp_path / 'a.db'}"]) == 2
    error = capsys.readouterr().err
    mine = trial.fingerprint(trial.check(search)[0].model)
    assert "with the same settings (accelerator" not in error
    assert re.search(rf"with the same settings \(.*checkpoint was '0a1b2c3d', is '{mine}'", error)


def test_names_are_the_same_on_every_machine(checkpoint, tmp_path):
    search = search_of(checkpoint)
    moved = replace(search, network=Network(checkpoint=tmp_path / "elsewhere"), output=Workers(trials=7))
    moved = replace(moved, data=replace(moved.data, data_root=Path("/mnt")))
    assert moved.name("0a1b2c3d") == search.name("0a1b2c3d") != search.name("3d2c1b0a")
    assert replace(search, trials=Trials(1)).name("0a1b2c3d") != search.name("0a1b2c3d")
    assert Search().output.trials == 100
