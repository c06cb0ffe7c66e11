"""The MLflow copy of a run: it has what the folder has, and where it fails one sentence says so."""

import http.server
import shutil
import threading

import pytest
from run_folders import row

from experiments.lab.config import Config, Output, Tracking
from experiments.lab.runs import history, record
from experiments.lab.runs.tracking import Tracker
from experiments.run.__main__ import main as run

QUICK = ["--kernel", "svd", "--max-epochs", "2", "--finetune-epochs", "1", "--rep"]


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)


def client(out):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{out}/mlflow.db")


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """The folder that holds a tracked run, and mlflow.db."""
    out = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
        assert run([*QUICK, "--out", str(out)]) == 0
    return out


@pytest.fixture
def out(tracked, tmp_path):
    """A folder with an mlflow.db: to create its tables takes seconds."""
    shutil.copy(tracked / "mlflow.db", tmp_path)
    return tmp_path


def test_mlflow_has_what_the_folder_has(tracked):
    (folder,) = (path.parent for path in tracked.glob("*/results.json"))
    written = {row["network"]: row for row in record.read_results(folder)["rows"]}
    followed = client(tracked)
    experiment = followed.get_experiment_by_name("digits-lenet")
    found = {run.data.tags.get("network"): run for run in followed.search_runs([experiment.experiment_id])}
    assert set(found) == {None, "dense", "svd"}
    assert found[None].data.params["max_epochs"] == "2"
    assert found[None].data.tags["folder"] == str(folder)
    for name in ("dense", "svd"):
        assert found[name].data.tags["mlflow.parentRunId"] == found[None].info.run_id
        assert found[name].info.status == "FINISHED"
        for key in ("top1", "top5", "loss", "params", "latency_64", "training_seconds"):
            assert found[name].data.metrics[key] == pytest.approx(written[name][key])
        epochs = followed.get_metric_history(found[name].info.run_id, "train_loss")
        rows = [row for row in history.read(folder) if row["network"] == name]
        assert [(m.step, m.value) for m in epochs] == [(row["epoch"], pytest.approx(row["train_loss"])) for row in rows]
    run_id = found[None].info.run_id
    assert found[None].data.metrics["svd/top1"] == pytest.approx(written["svd"]["top1"])
    assert {"report.html", "results.csv", "results.json"} == {file.path for file in followed.list_artifacts(run_id)}
    assert [file.path for file in followed.list_artifacts(found["svd"].info.run_id)] == ["plan.json"]
    assert (tracked / "mlartifacts" / run_id / "artifacts" / "report.html").is_file()
    assert written["dense"]["training_seconds"] == pytest.approx(sum(r["seconds"] for r in history.read(folder)[:2]))


def test_a_resumed_run_goes_on_in_the_same_mlflow_runs(out):
    config, folder = Config(output=Output(out=out)), out / "r"
    killed = Tracker(config, folder)
    killed.__enter__()
    killed.epoch("dense", 0, {"loss": 1.0})
    with Tracker(config, folder) as again:
        again.epoch("dense", 1, {"loss": 0.5})
        assert (again.parent, again.runs) == (killed.parent, killed.runs)
    repeated = Tracker(config, folder)

    def fail():
        with repeated:
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert repeated.parent != killed.parent
    assert client(out).get_run(repeated.parent).info.status == "FAILED"
    assert client(out).get_run(again.parent).info.status == "FINISHED"


class Broken(http.server.BaseHTTPRequestHandler):
    """A tracking server that has lost its database."""

    def do_GET(self):
        self.send_error(500, "database is gone")

    do_POST = do_GET

    def log_message(self, *_):
        """Not on stderr."""


@pytest.fixture
def server():
    broken = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    thread = threading.Thread(target=broken.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{broken.server_port}"
    broken.shutdown()
    thread.join()
    broken.server_close()


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "SERVER", "nonsense://x", "sqlite:///FILE/a.db"])
def test_a_tracking_server_that_fails_is_said_once_and_harms_nothing(uri, tmp_path, monkeypatch, capsys, server):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri.replace("SERVER", server).replace("FILE", str(tmp_path / "file")))
    with Tracker(Config(output=Output(out=tmp_path)), tmp_path) as tracker:
        tracker.epoch("dense", 0, {"loss": 1.0})
        tracker.row(row("dense"))
    error = capsys.readouterr().err
    assert error.startswith("warning: the run goes on without MLflow, which failed at ")
    assert error.count("\n") == 1
    assert str(tmp_path) in error
    assert len(error) < 400
    assert "Traceback" not in error
    if ":9" in uri:
        assert "(Connection refused)" in error


def test_a_run_says_where_mlflow_shows_it(out, monkeypatch, capsys):
    with Tracker(Config(output=Output(out=out)), out) as tracker:
        tracker.epoch("dense", 0, {"loss": 1.0})
    page = f"#/experiments/{tracker.experiment}/runs"
    assert f"MLflow: http://127.0.0.1:5000/{page} after mlflow ui --backend-store-uri " in capsys.readouterr().err
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://mlflow.example.org/")
    tracker = Tracker(Config(output=Output(out=out)), out)
    tracker.experiment = "7"
    assert tracker.address == "https://mlflow.example.org/#/experiments/7/runs"


def test_a_server_that_fails_half_way(out, monkeypatch, capsys):
    with Tracker(Config(output=Output(out=out)), out) as tracker:
        tracker.epoch("dense", 0, {"loss": 1.0})
        monkeypatch.setattr(tracker.client, "log_batch", lambda *_: 1 / 0)
        tracker.epoch("dense", 1, {"loss": 1.0})
        tracker.epoch("dense", 2, {"loss": 1.0})
    assert capsys.readouterr().err.count("warning: ") == 1


def test_no_track_touches_nothing(tmp_path):
    with Tracker(Config(tracking=Tracking(track=False), output=Output(out=tmp_path)), tmp_path) as tracker:
        tracker.epoch("dense", 0, {"loss": 1.0})
        tracker.row(row("dense"))
    assert not list(tmp_path.iterdir())
