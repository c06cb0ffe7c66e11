"""MLflow, beside the run folder: every figure is in the folder first, and nothing that MLflow does can harm a run."""

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from ..config import Config
from ..trials.sqlite import sqlite_url
from .lock import in_turn

PATIENCE = {  # what MLflow is told unless its user said otherwise: by itself it would hold a run up for many minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}


class Tracker:
    """A run folder as an MLflow run, its networks as the runs below it; a resumed run goes on in the same ones.

    Of the experiment MLFLOW_EXPERIMENT_NAME, or dataset-model.  The first failure is said once on stderr and ends the
    tracking, not the run.
    """

    def __init__(self, config: Config, folder: Path, first: bool = True) -> None:
        """Of several processes only the `first` one tracks."""
        self.config, self.folder, self.on = config, folder, config.tracking.track and first
        self.uri = os.environ.get("MLFLOW_TRACKING_URI") or sqlite_url(config.output.out / "mlflow.db")
        self.client: Any = None
        self.experiment, self.parent = "", ""
        self.runs: dict[str, str] = {}  # network -> MLflow's name of its run

    def __enter__(self) -> "Tracker":
        self._safely(self._begin)
        return self

    def epoch(self, network: str, number: int, metrics: Mapping[str, float]) -> None:
        """The metrics of one epoch."""
        self._safely(lambda: self._log(self._run(network), metrics, number))

    def row(self, row: Mapping[str, object]) -> None:
        """The row of one network: what is a number is a metric, the rest a parameter."""
        numbers = {k: float(v) for k, v in row.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        words = {k: str(v) for k, v in row.items() if k not in numbers}
        self._safely(lambda: self._log(self._run(str(row["network"])), numbers, 0, words))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        status = "FINISHED" if error is None else "FAILED" if isinstance(error, Exception) else "KILLED"
        runs = [*self.runs.values(), self.parent]
        self._safely(lambda: [self.client.set_terminated(run, status) for run in runs])

    def _safely(self, action: Callable[[], object]) -> None:
        """Do it unless tracking is off; turn it off with one sentence if it fails."""
        if not self.on:
            return
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # MLflow's own, about its libraries
                action()
        except Exception as error:  # whatever a server, its driver or the network raises: the run matters more
            self.on = False
            reason = " ".join(str(error).split())[:300]
            sys.stderr.write(
                f"warning: the run goes on without MLflow, which failed at {self.uri} "
                f"({type(error).__name__}: {reason}); everything is in {self.folder}\n"
            )

    def _begin(self) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)  # read by MLflow while it is imported
        from mlflow import MlflowClient  # late: it takes a second, and --no-track needs none of it

        logging.getLogger("mlflow").setLevel(logging.WARNING)  # no line for each table of a new database
        logging.getLogger("alembic").setLevel(logging.WARNING)
        flat = self.config.flat()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or f"{flat['dataset']}-{flat['model']}"
        with in_turn(self.config.output.out):  # MLflow makes its tables, and an experiment, without a lock
            self.client = MlflowClient(tracking_uri=self.uri)
            experiment = self.client.get_experiment_by_name(name)
            self.experiment = experiment.experiment_id if experiment else self.client.create_experiment(name)
        tags = {"folder": str(self.folder.absolute()), "mlflow.source.name": "python -m experiments.run"}
        self.parent = self._resumed(f"tags.folder = '{tags['folder']}'") or self._create(self.config.name, tags)
        self._log(self.parent, {}, 0, {key: str(value) for key, value in flat.items()})

    def _run(self, network: str) -> str:
        if network not in self.runs:
            query = f"tags.`mlflow.parentRunId` = '{self.parent}' and tags.network = '{network}'"
            tags = {"mlflow.parentRunId": self.parent, "network": network}
            self.runs[network] = self._resumed(query) or self._create(f"{self.config.name} {network}", tags)
        return self.runs[network]

    def _create(self, name: str, tags: dict[str, str]) -> str:
        return self.client.create_run(self.experiment, run_name=name, tags=tags).info.run_id

    def _resumed(self, query: str) -> str | None:
        """The run that was begun and never ended: its process was killed."""
        found = self.client.search_runs([self.experiment], f"{query} and attributes.status = 'RUNNING'", max_results=1)
        return found[0].info.run_id if found else None

    def _log(self, run: str, metrics: Mapping[str, float], step: int, words: Mapping[str, str] | None = None) -> None:
        from mlflow.entities import Metric, Param

        now = int(1000 * time.time())
        params = [Param(key, value[:500]) for key, value in (words or {}).items()]
        self.client.log_batch(run, [Metric(key, value, now, step) for key, value in metrics.items()], params)
