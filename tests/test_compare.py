"""`list`, `compare`, the history of a run and its MLflow copy: figures against the run folder, which is the truth."""

import csv
import http.server
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from refusals import refused
from torch import nn

from experiments import history, record
from experiments.__main__ import VERBS
from experiments.__main__ import main as verbs
from experiments.batches import Batches
from experiments.compare import main as compare
from experiments.comparison import Comparison, cells, frame
from experiments.comparison_formats import to_latex, to_markdown
from experiments.config import Config, Data, Output, Tracking
from experiments.data import load_dataset
from experiments.evaluate import accuracy
from experiments.history import History
from experiments.list import main as list_runs
from experiments.run import main as run
from experiments.tracking import Tracker

ROOT = Path(__file__).parents[1]


def row(kernel, scale=1.0, **other):
    """A row as results.json has it; every cost is `scale` times the dense network's."""
    costs = {"params": 60000, "macs": 400000, "bytes": 240000, "peak_memory": 3000000}
    times = {f"latency_{n}{end}": t * scale for n, t in ((1, 2e-4), (64, 3e-3)) for end in ("", "_low", "_high")}
    flags = {"latency_1_noisy": False, "latency_64_noisy": False}
    figures = {"top1": 98.0 + scale, "top5": 100.0, "loss": 0.05, "val_top1": 97.0, "training_seconds": 8.0 * scale}
    return (
        {"kernel": kernel, "budget": ""}
        | figures
        | {k: int(v * scale) for k, v in costs.items()}
        | times
        | flags
        | other
    )


def results(*rows, **config):
    return {
        "version": record.VERSION,
        "config": {"model": "lenet", "dataset": "digits", "seed": 0, **config},
        "environment": {"gpu": None, "threads": 2, "commit": "abc"},
        "test_images": 360,
        "latency_batches": [1, 64],
        "rows": list(rows),
    }


@pytest.fixture
def runs(tmp_path):
    """A folder with runs `a` and `b`, an unfinished one, and three that cannot be read."""
    folders = {name: tmp_path / name for name in ("a", "b", "unfinished", "torn", "old", "odd")}
    for folder in folders.values():
        folder.mkdir()
        (folder / "config.json").write_text("{}")
    record.write_json(folders["a"] / "results.json", results(row("dense"), row("svd", 0.5)))
    record.write_json(folders["b"] / "results.json", results(row("dense", 2.0), row("dct_50%", 0.25), model="resnet20"))
    record.write_json(folders["unfinished"] / "history.json", [{"network": "svd", "epoch": 4, "seconds": 1.0}])
    (folders["torn"] / "results.json").write_text('{"version": 2, "ro')
    record.write_json(folders["old"] / "results.json", {"rows": []})
    record.write_json(folders["odd"] / "results.json", results({"kernel": "dense"}))
    return tmp_path


def test_ratios_are_against_the_dense_network_of_the_same_run_or_of_the_one_asked_for(runs):
    both = {name: record.read_results(runs / name) for name in "ab"}
    own, shared = frame(Comparison(both)), frame(Comparison(both, "a"))
    for key in ("params", "macs", "bytes", "peak_memory", "latency_1", "latency_64", "training_seconds"):
        assert list(own[f"{key} / dense"]) == pytest.approx([1, 0.5, 1, 0.125], rel=1e-3)
        assert list(shared[f"{key} / dense"]) == pytest.approx([1, 0.5, 2, 0.25], rel=1e-3)
    assert list(own["top1"]) == [99.0, 98.5, 100.0, 98.25]


def test_cells_by_hand(runs):
    header, lines = cells(Comparison({"a": record.read_results(runs / "a")}), "; ")
    assert header[2:] == [
        *("top-1 %", "top-5 %", "loss", "params", "MACs", "bytes", "batch 1", "batch 64", "peak memory", "training")
    ]
    assert lines == [
        ["a", "dense", "99.00", "100.00", "0.050", "60 k", "400 k", "240 k", "200 µs", "3 ms", "3 M", "8 s"],
        [
            *("a", "svd", "98.50; -0.50", "100.00; +0.00", "0.050; +0.00", "30 k; 50%", "200 k; 50%", "120 k; 50%"),
            *("100 µs; 0.50x", "1.5 ms; 0.50x", "1.5 M; 50%", "4 s; 0.50x"),
        ],
    ]


def test_a_run_without_training_has_no_ratio_of_training_times():
    shown = Comparison({"a": results(row("dense", training_seconds=0), row("svd"))})
    assert cells(shown)[1][1][-1] == "8 s"
    assert frame(shown)["training_seconds / dense"].isna().all()


def test_batch_sizes_that_only_some_runs_have(runs):
    more = results(row("dense", latency_8=1e-3)) | {"latency_batches": [1, 8, 64]}
    header, lines = cells(Comparison({"a": record.read_results(runs / "a"), "c": more}))
    column = header.index("batch 8")
    assert [line[column] for line in lines] == ["", "", "1 ms"]


class Tables(HTMLParser):
    """The cells of the only table."""

    def __init__(self):
        super().__init__()
        self.rows, self.inside = [], False

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        self.inside = tag in ("td", "th") or (self.inside and tag == "br")
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def test_every_format_has_the_same_cells(runs, capsys):
    files = [runs / f"table{suffix}" for suffix in (".csv", ".md", ".tex", ".html")]
    assert compare(["a", str(runs / "b"), "--runs", str(runs), "--out", *map(str, files)]) == 0
    printed = capsys.readouterr().out
    for words in ("98.50", "-0.50", "50%", "0.50x", "dct_50%", "of its own run"):
        assert words in printed
    assert max(map(len, printed.splitlines())) <= 80
    plain, markdown, latex, page = (path.read_text(encoding="utf-8") for path in files)
    header, lines = cells(Comparison({name: record.read_results(runs / name) for name in "ab"}))

    assert [line["kernel"] for line in csv.DictReader(plain.splitlines())] == ["dense", "svd", "dense", "dct_50%"]
    assert float(next(csv.DictReader(plain.splitlines()))["latency_64"]) == 3e-3
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown.splitlines() if line.startswith("|")]
    assert [table[0], *table[2:]] == [header, *lines]
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    unescaped = [[re.sub(r"\\([%_])", r"\1", cell).strip() for cell in line[:-3].split(" & ")] for line in body]
    assert unescaped == [[cell.replace("µ", r"\textmu{}") for cell in line] for line in lines]
    assert not re.search(r"(?<!\\)[%_]", latex.split(r"\toprule")[1])
    parser = Tables()
    parser.feed(page[page.index("<table") :])
    assert parser.rows[0] == header
    assert [[cell.replace(" ", "") for cell in line] for line in parser.rows[1:]] == [
        [cell.replace(" ", "") for cell in line] for line in lines
    ]
    assert "Plotly.newPlot(" in page
    assert "<script src=" not in page


def test_times_from_a_busy_machine_are_pointed_out(runs):
    busy = results(row("dense", latency_64_noisy=True))
    assert "a: timed on a busy machine at batch 64, take with care" in to_markdown(Comparison({"a": busy}))
    assert "busy" not in to_latex(Comparison({"a": results(row("dense"))}))


REFUSALS = {
    "nowhere": r"run must be a run folder, or a name that python -m experiments.list .* shows, got 'nowhere'",
    "a unfinished": r"run must be complete: .*unfinished has no results.json yet, the same command again finishes it",
    "torn": "run must have a whole results.json, got .*torn/results.json",
    "old": "run must be of layout version 2: repeat it with --force, got '.*old/results.json of None'",
    "odd": "run must be a whole one: repeat it with --force",
    "other": "run must be a run folder, with config.json and results.json",
    "a --out RUNS/table.xls": "out must be a file that ends in .csv, .md, .tex, .html, got '.*table.xls'",
    "a --out RUNS/x/table.md": "out must be in a folder that exists",
    "a --dense nowhere": "run must be a run folder",
}


@pytest.mark.parametrize("arguments", REFUSALS)
def test_bad_input_is_refused_in_one_sentence(arguments, runs, capsys):
    (runs / "other").mkdir()
    given = [*arguments.replace("RUNS", str(runs)).split(), "--runs", str(runs)]
    error = refused(compare, given, runs, capsys)
    assert re.search(REFUSALS[arguments], error), error


def test_the_list_shows_every_run_and_why_one_cannot_be_used(runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    (runs / "study-x").mkdir()
    assert list_runs(["--runs", str(runs)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert "complete, 2 networks" in lines["a"]
    assert "99.00" in lines["a"]
    assert "98.50 to 98.50" in lines["a"]
    assert "unfinished, epoch of svd 5" in lines["unfinished"]
    assert "unreadable" in lines["torn"]
    assert "study-x" not in lines
    assert list_runs(["--runs", str(runs / "nowhere")]) == 2
    assert "runs must be a folder of run folders" in capsys.readouterr().err


def test_verbs(capsys, runs):
    assert verbs(["list", "--runs", str(runs)]) == 0
    assert "6 runs" in capsys.readouterr().out
    assert verbs([]) == 0
    usage = capsys.readouterr().out
    assert all(f"  {verb} " in usage for verb in VERBS)
    assert verbs(["train"]) == 2
    assert f"verb must be one of {', '.join(VERBS)}, got 'train'" in capsys.readouterr().err
    code = "import sys, experiments.compare, experiments.list, experiments.tune, experiments.__main__;"
    code += "print([m for m in ('torch', 'optuna', 'mlflow', 'pandas') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert loaded.stdout.strip() == "[]"


def test_accuracy_by_hand(monkeypatch):
    dataset = load_dataset(Data(), 0)
    split = dataset.test()
    logits = torch.zeros(len(split.labels), 10)
    logits[torch.arange(len(logits)), split.labels] = 1.0  # right
    logits[:36] = 0.0
    logits[:36, :] = torch.nn.functional.one_hot((split.labels[:36] + 1) % 10, 10) * 3.0  # a tenth is wrong
    logits[:36] += torch.nn.functional.one_hot(split.labels[:36], 10) * 2.0  # half of that second
    logits[:18] -= torch.nn.functional.one_hot(split.labels[:18], 10) * 9.0  # the other half last

    class Known(nn.Module):
        def __init__(self):
            super().__init__()
            self.at = 0

        def forward(self, x):
            self.at += len(x)
            return logits[self.at - len(x) : self.at]

    found = accuracy(Known(), split, dataset, "cpu")
    assert (found.top1, found.top5) == (90.0, 95.0)
    assert found.loss == pytest.approx(torch.nn.functional.cross_entropy(logits, split.labels).item(), rel=1e-5)
    assert sum(len(labels) for _, labels in Batches(split, dataset, 500)) == len(split.labels)


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
    callback.on_train_epoch_end(trainer, None)


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
    (folder,) = (path for path in tracked.iterdir() if path.is_dir())
    written = {row["kernel"]: row for row in record.read_results(folder)["rows"]}
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
