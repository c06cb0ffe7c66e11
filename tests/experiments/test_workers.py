"""The queue of trials against workers that die, stall and race."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import optuna
import pytest
import sqlalchemy
from optuna.trial import TrialState
from processes import FORK

from experiments.lab.trials.storage import WORKER, close, open_storage, open_study
from experiments.lab.trials.workers import Lost, work
from experiments.tune.sampler import SeededByTrial

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # heartbeats are, to Optuna


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


def test_a_waiting_trial_is_taken_once(queue):
    study, storage = queue
    study.enqueue_trial({"x": 0.5})
    identity = study.trials[0]._trial_id

    @sqlalchemy.event.listens_for(storage.engine, "after_cursor_execute")
    def slowly(_, cursor, statement, *rest):
        if statement.startswith("SELECT"):
            time.sleep(0.2)  # both workers have read it before either writes

    with ThreadPoolExecutor(2) as workers:
        taken = list(workers.map(lambda _: storage.set_trial_state_values(identity, TrialState.RUNNING), range(2)))
    assert sorted(taken) == [False, True]


def worker(url, log, victim):
    """Do trials until the study has 24; a victim is killed in its second."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storage = open_storage(url, heartbeat=2, retries=3)  # on a busy machine a worker may be silent for a second
    study = open_study(storage, "shared", {"model": "lenet"}, SeededByTrial(0), "none")
    done = []

    def objective(trial):
        x = trial.suggest_float("x", 0, 1)
        done.append(trial.number)
        if victim and len(done) == 2:
            with log.open("a") as file:
                file.write(f"killed {trial.number}\n")
            os.kill(os.getpid(), signal.SIGKILL)
        over = study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        slow = not (over or victim)  # until the dead one's trial is noticed, or others do all 24
        time.sleep(slow + 0.05 + 0.1 * x)
        with log.open("a") as file:
            file.write(f"did {trial.number}\n")
        return x

    work(study, storage, objective, 24)


def four_workers(url, folder):
    """Four processes on one study of 24 trials, one of which is killed in its second; what each says it did."""
    processes = [FORK.Process(target=worker, args=(url, folder / f"{n}.log", n == 0)) for n in range(4)]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(120)
        codes = [process.exitcode for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert codes == [-signal.SIGKILL, 0, 0, 0]
    lines = [line.split() for n in range(4) for line in (folder / f"{n}.log").read_text().splitlines()]
    return {what: [int(number) for word, number in lines if word == what] for what in ("did", "killed")}


def assert_no_trial_is_lost_or_doubled(url, folder):
    said = four_workers(url, folder)
    storage = open_storage(url, 60, 3)
    every = optuna.load_study(study_name="shared", storage=storage).get_trials()
    close(storage)
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
    assert_no_trial_is_lost_or_doubled(f"sqlite:///{tmp_path / 'study.db'}", tmp_path)


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


@pytest.mark.slow
def test_four_processes_share_a_postgresql_server(postgres, tmp_path):
    assert_no_trial_is_lost_or_doubled(postgres, tmp_path)


def server_of_the_guide(database, port):
    """Return the Python of docs/guides/many-machines.md that serves a database, for this one at this port."""
    page = (ROOT / "docs" / "guides" / "many-machines.md").read_text(encoding="utf-8")
    code = textwrap.dedent(
        re.search(r"^    from optuna.storages(.*\n)+?    run_grpc_proxy_server\(.*\n", page, re.MULTILINE)[0]
    )
    for written, here in ((r'"postgresql[^"]*"', repr(database)), ('"0.0.0.0"', '"127.0.0.1"'), ("13000", str(port))):
        code, count = re.subn(written, here, code)
        assert count == 1, written
    return code


@pytest.fixture
def grpc_url(tmp_path):
    """The URL of a server before a file, which lives as long as the test."""
    pytest.importorskip("grpc", reason="grpcio is not installed: pip install -e '.[grpc]'")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (tmp_path / "server.log").open("w") as log:
        command = [sys.executable, "-c", server_of_the_guide(f"sqlite:///{tmp_path / 'served.db'}", port)]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(600):
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            with socket.socket() as there:
                if there.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"grpc://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(timeout=30)


def test_a_study_behind_a_grpc_server_has_its_trials_and_takes_up_that_of_a_dead_worker(grpc_url):
    storage = open_storage(grpc_url, 1, 3)
    study = open_study(storage, "shared", {"a": 1}, optuna.samplers.RandomSampler(0), "none")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that a heartbeat is for Study.optimize
        dead = study.ask()
    dead.suggest_float("x", 0, 1)
    storage.record_heartbeat(dead._trial_id)  # its last sign of life
    dead.set_user_attr(WORKER, "gone:1")
    work(study, storage, lambda trial: trial.suggest_float("x", 0, 1), 3)
    trials = study.get_trials()
    assert [trial.state.name for trial in trials].count("COMPLETE") == 3
    assert trials[0].state.name == "FAIL"
    assert any(trial.params == trials[0].params for trial in trials[1:])
    again = open_storage(grpc_url, 1, 3)
    with pytest.raises(ValueError, match="a was 1, is 2"):
        open_study(again, "shared", {"a": 2}, optuna.samplers.RandomSampler(0), "none")
    close(again)
    close(storage)


@pytest.mark.slow
def test_four_processes_share_a_grpc_server(grpc_url, tmp_path):
    assert_no_trial_is_lost_or_doubled(grpc_url, tmp_path)


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("grpc://nowhere", "storage must be DIALECT://.* or grpc://HOST:PORT, got 'grpc://nowhere'"),
        ("grpc://127.0.0.1:1", "storage must be a server of Optuna's that answers, got 'grpc://127.0.0.1:1'"),
    ],
)
def test_a_grpc_server_that_is_not_there_is_one_sentence(url, sentence, monkeypatch):
    pytest.importorskip("grpc", reason="grpcio is not installed: pip install -e '.[grpc]'")
    monkeypatch.setattr("experiments.lab.trials.proxy.ANSWERS", 0.5)
    with pytest.raises(ValueError, match=sentence):
        open_storage(url, 60, 3)
