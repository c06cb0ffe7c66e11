"""The search: the verb on real images, and the queue of trials against workers that die, stall and race."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from dataclasses import replace
from pathlib import Path

import optuna
import pytest
import tyro
from optuna.trial import FixedTrial, TrialState
from PIL import Image

from experiments.config import Config
from experiments.models.lenet import LeNet
from experiments.stopped import Diverged
from experiments.tune import main
from experiments.tuning import objective as objectives
from experiments.tuning.config import Search, Space, Tune, Workers
from experiments.tuning.objective import check, objective, suggest
from experiments.tuning.sampler import SeededByTrial
from experiments.tuning.storage import WORKER, open_storage, open_study
from experiments.tuning.workers import Lost, work

ROOT = Path(__file__).parents[1]
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
    return read(f"sqlite:///{folder / 'study.db'}", folder.name)


def read(url, name):
    """The trials of a study; the connections are closed."""
    storage = open_storage(url, 60, 3)
    found = optuna.load_study(study_name=name, storage=storage).get_trials()
    storage.engine.dispose()
    return found


def test_four_figures_as_html_and_png(found):
    folder, _ = found
    page = (folder / "report.html").read_text()
    for words in ("Optimisation history", "Which settings matter", "Parallel coordinates", "Contours"):
        assert f"<h2>{words}" in page
    assert page.count("Plotly.newPlot(") >= 4
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


REFUSALS = {
    "--trials 0": "trials must be at least 1, got 0",
    "--lrs 0.1 0.01": r"lrs must be two numbers above 0, the lower one first, got \(0.1, 0.01\)",
    "--batch-sizes 0": "batch sizes must be at least 1 each",
    "--epochs 0 3": "epochs must be two numbers above 0",
    "--optimizers sgd sgd": "optimizers must be one or more distinct values",
    "--lr 0.1": "lr must be left to the search: pass --lrs, got 0.1",
    "--batch-size 8": "batch size must be left to the search: pass --batch-sizes, got 8",
    "--dataset cifar": "dataset must be one of digits",
    "--devices 2 --accelerator cpu": "devices x nodes must be 1: the same command in more terminals shares the study",
    "--heartbeat 0": "heartbeat must be at least 1",
    "--storage nonsense": "storage must be DIALECT://USER:PASSWORD@HOST/NAME or sqlite:///FILE, got 'nonsense'",
    "--storage sqlite:///FILE/a.db": "storage must be a database that answers, got .*unable to open",
    "--storage mysql+pymysql://me:secret@localhost/x": "storage must be one whose driver is installed",
    "--out FILE": "out must be a folder that can be written",
}


@pytest.mark.parametrize("arguments", REFUSALS)
def test_bad_input_is_refused_in_one_sentence(arguments, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    given = arguments.replace("FILE", str(tmp_path / "file")).split()
    assert main(given if "--out" in given else [*given, "--out", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert "secret" not in error
    assert re.search(REFUSALS[arguments], error), error


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
    assert replace(tune, search=Search("hyperband")).name != tune.name


def one(trial):
    return trial.suggest_float("x", 0, 1)


@pytest.fixture
def queue(tmp_path):
    """(study, storage) of a new SQLite file."""
    storage = open_storage(f"sqlite:///{tmp_path / 'study.db'}", 1, 3)
    return open_study(storage, "s", {}, SeededByTrial(0), "none"), storage


def test_one_worker_gives_the_same_trials_each_time_and_other_seeds_others(queue, tmp_path):
    study, storage = queue
    work(study, storage, one, 3)
    values = []
    for seed in (0, 1):
        other = open_storage(f"sqlite:///{tmp_path / f'{seed}.db'}", 1, 3)
        again = open_study(other, "s", {}, SeededByTrial(seed), "none")
        work(again, other, one, 3)
        values.append([t.value for t in again.trials])
    assert values[0] == [t.value for t in study.trials]
    assert len({*values[0], *values[1]}) == 6


def test_a_trial_too_many_is_not_done(queue, monkeypatch):
    study, storage = queue
    done, optimize = [], study.optimize

    def late(objective, n_trials, catch):
        if len(study.trials) == 1:  # in the moment before this worker begins the last one, another begins it
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a storage with heartbeats, to be used with optimize
                other = study.ask()
            optimize(objective, n_trials=n_trials, catch=catch)
            study.tell(other, 0.5)
        else:
            optimize(objective, n_trials=n_trials, catch=catch)

    monkeypatch.setattr(study, "optimize", late)
    work(study, storage, lambda trial: done.append(trial.number) or 1.0, 2)
    assert done == [0]
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE", "FAIL"]


def test_a_trial_that_was_given_to_another_is_not_told_twice(queue):
    study, storage = queue
    said = []

    def stalls(trial):
        if trial.number == 0:  # as another worker does who takes this one for dead
            storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
        return 1.0

    work(study, storage, stalls, 2, said.append)
    assert [t.state.name for t in study.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert "given to another worker" in said[0]


def test_an_error_in_a_trial_is_raised(queue):
    def broken(trial):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        work(*queue, broken, 2)


def test_a_trial_without_any_sign_of_life_is_taken_up_again(queue):
    study, storage = queue
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        silent, lively = study.ask(), study.ask()
    lively.set_user_attr(WORKER, "somewhere")
    silent.suggest_float("x", 0, 1)
    now = 0.0
    lost = Lost(study, patience=10, clock=lambda: now)
    for seconds in (0.0, 9.0, 10.0):
        now = seconds
        lost.give_up(storage)
        assert [t.state.name for t in study.trials] == ["RUNNING", "RUNNING"]
    now = 10.1
    lost.give_up(storage)
    lost.give_up(storage)
    assert [t.state.name for t in study.trials] == ["FAIL", "RUNNING", "WAITING"]
    assert study.trials[2].params == silent.params
    assert optuna.storages.RetryHeartbeatStaleTrialCallback.retry_history(study.trials[2]) == [0]


WORKER_PROGRAM = """
import os, signal, sys, time
import optuna
from experiments.tuning.sampler import SeededByTrial
from experiments.tuning.storage import open_storage, open_study
from experiments.tuning.workers import work
optuna.logging.set_verbosity(optuna.logging.ERROR)
url, log, victim = sys.argv[1:]
storage = open_storage(url, heartbeat=2, retries=3)  # on a busy machine a worker may be silent for a second
study = open_study(storage, "shared", {"model": "lenet"}, SeededByTrial(0), "none")
done = 0
def objective(trial):
    global done
    x = trial.suggest_float("x", 0, 1)
    done += 1
    if victim == "yes" and done == 2:
        with open(log, "a") as file:
            file.write(f"killed {trial.number}\\n")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.05 + 0.1 * x)
    with open(log, "a") as file:
        file.write(f"did {trial.number}\\n")
    return x
work(study, storage, objective, 24)
"""


def four_workers(url, folder):
    """Four processes on one study of 24 trials, one of which is killed in its second; what each says it did."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    processes = [
        subprocess.Popen([sys.executable, "-c", WORKER_PROGRAM, url, str(folder / f"{n}.log"), victim], env=environment)
        for n, victim in enumerate(("yes", "no", "no", "no"))
    ]
    try:
        codes = [process.wait(timeout=120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [-signal.SIGKILL, 0, 0, 0]
    lines = [line.split() for n in range(4) for line in (folder / f"{n}.log").read_text().splitlines()]
    return {what: [int(number) for word, number in lines if word == what] for what in ("did", "killed")}


def no_trial_is_lost_or_doubled(url, folder):
    said = four_workers(url, folder)
    every = read(url, "shared")
    complete = [t for t in every if t.state == TrialState.COMPLETE]
    assert len(complete) == 24
    assert sorted(said["did"]) == [t.number for t in complete]  # each once, and no work for nothing
    assert len({t.params["x"] for t in complete}) == 24
    (killed,) = said["killed"]
    assert every[killed].state == TrialState.FAIL
    (again,) = [t for t in complete if t.params == every[killed].params]
    assert optuna.storages.RetryHeartbeatStaleTrialCallback.retry_history(again) == [killed]
    workers = {t.user_attrs[WORKER] for t in complete}
    assert len(workers) >= 3
    assert again.user_attrs[WORKER] != every[killed].user_attrs[WORKER]


def test_four_processes_share_a_file(tmp_path):
    no_trial_is_lost_or_doubled(f"sqlite:///{tmp_path / 'study.db'}", tmp_path)


@pytest.fixture
def postgres():
    """The URL of an empty database of a server that lives as long as the test."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install -e '.[postgres]'")
    places = [str(path) for path in sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    path = os.pathsep.join([os.environ["PATH"], *places])
    initdb, server = shutil.which("initdb", path=path), shutil.which("postgres", path=path)
    if initdb is None or server is None:
        pytest.skip("no PostgreSQL server (initdb, postgres) on this machine")
    user = "nobody" if os.geteuid() == 0 else None  # the server refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="postgres"))
    if user:
        shutil.chown(folder, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off"}
    create = [initdb, "-D", str(folder / "data"), "-U", "tuner", "-A", "trust", "-E", "UTF8", "--no-sync"]
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    process = None
    try:
        subprocess.run(create, check=True, capture_output=True, user=user, cwd=folder)
        with (folder.parent / f"{folder.name}.log").open("w") as log:
            serve = [server, "-D", str(folder / "data"), *options]
            process = subprocess.Popen(serve, stdout=log, stderr=log, user=user, cwd=folder)
        url = f"postgresql://tuner@127.0.0.1:{port}/postgres"
        import psycopg

        for _ in range(300):
            try:
                psycopg.connect(url).close()
                break
            except psycopg.OperationalError:
                assert process.poll() is None, "the server ended"
                time.sleep(0.1)
        yield url
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)  # fast shutdown
            process.wait(timeout=30)
        shutil.rmtree(folder)
        (folder.parent / f"{folder.name}.log").unlink(missing_ok=True)


def test_four_processes_share_a_postgresql_server(postgres, tmp_path):
    no_trial_is_lost_or_doubled(postgres, tmp_path)


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
