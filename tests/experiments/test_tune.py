"""The search for training settings: the verb on real images, its figures and its refusals."""

import json
import re
import shlex
import sqlite3
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import tyro
from browser import look_over
from optuna.trial import FixedTrial, TrialState
from PIL import Image

from experiments.lab.config import Config
from experiments.lab.models.lenet import LeNet
from experiments.lab.training.stopped import Diverged
from experiments.lab.trials.config import Workers
from experiments.lab.trials.storage import open_storage, open_study
from experiments.tune import objective as objectives
from experiments.tune.__main__ import main
from experiments.tune.config import Space, Stopping, Tune
from experiments.tune.objective import check, objective, suggest
from experiments.tune.sampler import SeededByTrial

ROOT = Path(__file__).parents[2]
QUICK = "--epochs 1 2 --step-sizes 1 2 --batch-sizes 64 --optimizers adamw --lrs 1e-3 1e-2"
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # heartbeats are, to Optuna


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """(the study's folder, arguments) of three trials on digits."""
    out = tmp_path_factory.mktemp("runs")
    arguments = [*QUICK.split(), "--out", str(out)]
    assert main([*arguments, "--trials", "3"]) == 0
    (folder,) = out.iterdir()
    return folder, arguments


def trials(folder):
    """The trials of a study; the connections are closed."""
    storage = open_storage(f"sqlite:///{folder / 'study.db'}", 60, 3)
    found = optuna.load_study(study_name=folder.name, storage=storage).get_trials()
    storage.engine.dispose()
    return found


@pytest.mark.slow
def test_its_page_in_a_browser(found, chromium):
    """Of the template whose pages of a run, a comparison, a sweep and a study are always looked at."""
    look_over(chromium, found[0] / "report.html")


def test_four_figures_as_html_and_png(found):
    folder, _ = found
    page = (folder / "report.html").read_text()
    for words in ("Optimisation history", "Which settings matter", "Parallel coordinates", "Contours"):
        assert f">{words}" in page
    assert page.count('data-for="figure-') == 4
    assert "<script src=" not in page
    for name in ("history", "importance", "parallel", "contour"):
        with Image.open(folder / f"{name}.png") as image:
            assert len(image.convert("RGB").getcolors(1 << 24)) > 50  # something is drawn


def test_the_best_settings_come_as_a_command_that_the_run_understands(found):
    folder, _ = found
    best = json.loads((folder / "best.json").read_text())
    assert best["validation_top1"] == max(t.value for t in trials(folder) if t.state == TrialState.COMPLETE)
    python, dash, verb, *words = shlex.split(best["command"])
    assert (python, dash, verb) == ("python", "-m", "experiments.run")
    config = tyro.cli(Config, args=words, config=(tyro.conf.OmitArgPrefixes,))
    for name, value in best["settings"].items():
        group = config.data if name == "batch_size" else config.training
        assert getattr(group, name) == value


def test_more_trials_continue_a_study(found, capsys):
    folder, arguments = found
    before = [(t.number, t.value) for t in trials(folder)]
    assert len(before) == 3
    assert main([*arguments, "--trials", "4"]) == 0
    after = [(t.number, t.value) for t in trials(folder)]
    assert after[:3] == before
    assert len(after) == 4
    assert "report.html" in capsys.readouterr().out


def test_the_space_is_that_of_the_options():
    space, seen = Space(), set()
    study = optuna.create_study(sampler=SeededByTrial(0))
    for _ in range(40):
        drawn = suggest(study.ask(), space)
        seen |= {drawn["optimizer"], drawn["schedule"], drawn["batch_size"]}
        assert 1e-4 <= drawn["lr"] <= 1e-1
        assert 1e-6 <= drawn["weight_decay"] <= 1e-2
        assert 10 <= drawn["max_epochs"] <= 30
        assert ("gamma" in drawn) == ("step_size" in drawn) == (drawn["schedule"] == "step")
    assert seen == {"adamw", "sgd", "onecycle", "cosine", "step", "constant", 32, 64, 128}


SETTINGS = {"batch_size": 128, "optimizer": "sgd", "lr": 0.05, "weight_decay": 1e-4, "schedule": "cosine"}


def test_the_test_images_have_no_say():
    tune = replace(Tune(), space=replace(Space(), epochs=(1, 1)))
    job = check(tune)

    def never():
        raise AssertionError("the test images were read")

    blind = job._replace(dataset=job.dataset._replace(test=never))
    value = objective(blind, tune.space)(FixedTrial({**SETTINGS, "max_epochs": 1}))
    n = len(job.dataset.val().labels)
    assert 0 < value < 100
    assert value * n / 100 == pytest.approx(round(value * n / 100), abs=1e-3)  # so many of the validation images


def test_a_bad_trial_is_pruned_after_an_epoch_and_a_diverged_one_as_well(monkeypatch):
    tune = replace(Tune(), space=replace(Space(), epochs=(3, 3), schedules=("constant",)))
    job = check(tune)
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.ThresholdPruner(lower=100.5))
    study.optimize(objective(job, tune.space), n_trials=1)

    def diverge(*_, **__):
        raise Diverged("loss is nan in step 7")

    monkeypatch.setattr(objectives, "train", diverge)
    study.optimize(objective(job, tune.space), n_trials=1)
    pruned, diverged = study.trials
    assert pruned.state == diverged.state == TrialState.PRUNED
    assert list(pruned.intermediate_values) == [0]
    assert diverged.user_attrs["diverged"] == "loss is nan in step 7"


def make_broken(classes, channels):
    """A network that evaluates but cannot be trained, whatever the settings."""

    class Broken(LeNet):
        def forward(self, x):
            if self.training:
                raise KeyError("no such layer")
            return super().forward(x)

    return Broken(classes, channels)


def test_a_model_that_fails_on_its_first_batch_ends_the_search_at_the_first_trial(tmp_path, capsys):
    arguments = [*QUICK.split(), "--model", "test_tune:make_broken", "--out", str(tmp_path)]
    assert main([*arguments, "--trials", "5"]) == 2
    error = capsys.readouterr().err
    assert re.search(r"^error: model must train on a first batch of 64x1x32x32, got KeyError", error, re.MULTILINE)
    assert "Traceback" not in error
    (folder,) = tmp_path.iterdir()
    assert [t.state for t in trials(folder)] == [TrialState.FAIL]


def test_other_settings_do_not_join_a_study(tmp_path, capsys):
    arguments = ["--storage", f"sqlite:///{tmp_path / 'a.db'}", "--study-name", "ours", "--out", str(tmp_path)]
    storage = open_storage(arguments[1], 60, 3)
    open_study(storage, "ours", Tune().flat() | {"model": "resnet20"}, SeededByTrial(0), "median")
    assert main(arguments) == 2
    assert "with the same settings (model was 'resnet20', is 'lenet')" in capsys.readouterr().err


def test_names_are_the_same_on_every_machine():
    assert Tune().name == "tune-digits-lenet-44136fa3"
    tune = Tune()
    elsewhere = replace(tune, data=replace(tune.data, data_root=Path("/mnt")), output=Workers(trials=7, heartbeat=5))
    assert elsewhere.name == tune.name
    assert replace(tune, search=Stopping("hyperband")).name != tune.name


def test_a_server_that_does_not_answer_is_said_without_the_password(tmp_path, capsys):
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install -e '.[postgres]'")
    assert main(["--storage", "postgresql://me:secret@127.0.0.1:1/x", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "a database that answers, got 'postgresql+psycopg://me:***@127.0.0.1:1/x'" in error
    assert error.count("\n") == 1
    assert "secret" not in error


def test_a_database_of_another_program_is_refused(tmp_path, capsys):
    with sqlite3.connect(tmp_path / "other.db") as other:
        other.execute("create table alembic_version (version_num varchar(32) primary key)")
        other.execute("insert into alembic_version values ('0a1b2c')")
    other.close()
    assert main(["--storage", f"sqlite:///{tmp_path / 'other.db'}", "--out", str(tmp_path)]) == 2
    assert "storage must be a database of this Optuna's own" in capsys.readouterr().err
