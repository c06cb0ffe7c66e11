"""Databases in files: at the path that was named, whatever characters it holds."""

from pathlib import Path

import pytest
from mlflow import MlflowClient

from experiments.lab.trials.sqlite import sqlite_url
from experiments.lab.trials.storage import open_storage

NAMES = ["plain", "t?x", "t%41", "t#y", "{SCHEMA_VERSION}", "[red]", "a b", "é", "a&b=c"]


def files(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


@pytest.mark.parametrize("name", NAMES)
def test_a_study_is_in_its_folder_and_nowhere_else(name, tmp_path):
    (tmp_path / name).mkdir()
    storage = open_storage(sqlite_url(tmp_path / name / "study.db"), 60, 3)
    storage.remove_session()
    storage.engine.dispose()
    assert files(tmp_path) == [name, f"{name}/study.db"]


@pytest.mark.filterwarnings("ignore")  # of MLflow, about its libraries
@pytest.mark.parametrize("name", ["t?x", "t%41", "{b}"])
def test_mlflow_keeps_its_database_there_too(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    client = MlflowClient(tracking_uri=sqlite_url(Path(name, "mlflow.db")))
    client.create_run(client.create_experiment("digits"))
    assert files(tmp_path) == [name, f"{name}/mlflow.db"]


def test_a_usual_path_is_named_as_mlflows_documentation_does(tmp_path):
    assert sqlite_url(tmp_path / "mlflow.db") == f"sqlite:///{tmp_path}/mlflow.db"
