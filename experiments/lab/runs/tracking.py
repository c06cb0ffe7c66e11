"""MLflow, beside the run folder: every figure is in the folder first, and nothing that MLflow does can harm a run."""

import logging
import os
import shlex
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

WORDS = 120  # characters of a reason


def reason(error: BaseException) -> str:
    """Return what lies at the bottom of an error: what the system says of it, else its own first line, cut short."""
    chain: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in chain:
        chain.append(cause)
        cause = getattr(cause, "orig", None) or cause.__cause__ or cause.__context__
    said = [link.strerror for link in chain if isinstance(link, OSError) and link.strerror]
    first = (str(error).strip().splitlines() or [""])[0]
    return said[-1] if said else f"{type(error).__name__}: {first if len(first) <= WORDS else first[:WORDS] + '...'}"


class Tracker:
    """A run folder as an MLflow run, its networks as the runs below it; a resumed run goes on in the same ones.

    Of the experiment MLFLOW_EXPERIMENT_NAME, or dataset-model.  The first failure is said once on stderr and ends the
    tracking, not the run.
    """

    def __init__(self, config: Config, folder: Path, first: bool = True) -> None:
        """Track in the `first` of several processes alone."""
        self.config, self.folder, self.on = config, folder, config.tracking.track and first
        self.given = os.environ.get("MLFLOW_TRACKING_URI")
        self.uri = self.given or sqlite_url(config.output.out / "mlflow.db")
        self.client: Any = None
        self.experiment, self.parent = "", ""
        self.runs: dict[str, str] = {}  # network -> MLflow's name of its run

    def __enter__(self) -> "Tracker":
        self._safely(self._begin)
        return self

    def epoch(self, network: str, number: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of one epoch."""
        self._safely(lambda: self._log(self._run(network), metrics, number))

    def row(self, row: Mapping[str, object]) -> None:
        """Log the row of one network: numbers as metrics, of the whole run as well, the rest as parameters."""
        numbers = {k: float(v) for k, v in row.items() if isinstance(v, int | float) and not isinstance(v, bool)}
        words = {k: str(v) for k, v in row.items() if k not in numbers}
        network = str(row["network"])
        self._safely(lambda: self._log(self._run(network), numbers, 0, words))
        self._safely(lambda: self._log(self.parent, {f"{network}/{key}": n for key, n in numbers.items()}, 0))

    def files(self, *names: str, network: str | None = None) -> None:
        """Copy files of the run's folder that are there as artifacts, of one network or of the whole run."""
        paths = [path for name in names if (path := self.folder / name).is_file()]

        def log() -> None:
            run = self.parent if network is None else self._run(network)
            for path in paths:
                self.client.log_artifact(run, str(path))

        self._safely(log)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        status = "FINISHED" if error is None else "FAILED" if isinstance(error, Exception) else "KILLED"
        runs = [*self.runs.values(), self.parent]
        self._safely(lambda: [self.client.set_terminated(run, status) for run in runs])
        if self.on and error is None:
            sys.stderr.write(f"MLflow: {self.address}\n")

    @property
    def address(self) -> str:
        """Return where a browser shows the runs: MLflow's own first page is of its traces."""
        page = f"#/experiments/{self.experiment}/runs"
        if self.uri.startswith("http"):
            return f"{self.uri.rstrip('/')}/{page}"
        return f"http://127.0.0.1:5000/{page} after mlflow ui --backend-store-uri {shlex.quote(self.uri)}"

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
            sys.stderr.write(
                f"warning: the run goes on without MLflow, which failed at {self.uri} ({reason(error)}); "
                f"everything is in {self.folder}\n"
            )

    def _begin(self) -> None:
        for name, value in PATIENCE.items():
            os.environ.setdefault(name, value)  # read by MLflow while it is imported
        from mlflow import MlflowClient  # late: it takes a second, and --no-track needs none of it

        for name in ("mlflow", "alembic", "urllib3"):  # what they would log is our one sentence, or a table made
            logging.getLogger(name).setLevel(logging.CRITICAL)
        flat = self.config.flat()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or f"{flat['dataset']}-{flat['model']}"
        with in_turn(self.config.output.out):  # MLflow makes its tables, and an experiment, without a lock
            self.client = MlflowClient(tracking_uri=self.uri)
            experiment = self.client.get_experiment_by_name(name)
            self.experiment = experiment.experiment_id if experiment else self._experiment(name)
        tags = {"folder": str(self.folder.absolute()), "mlflow.source.name": "python -m experiments.run"}
        self.parent = self._resumed(f"tags.folder = '{tags['folder']}'") or self._create(self.config.name, tags)
        self._log(self.parent, {}, 0, {key: str(value) for key, value in flat.items()})

    def _experiment(self, name: str) -> str:
        """Create it; artifacts lie beside our own database, not where the command happens to be given."""
        out = self.config.output.out.absolute()
        return self.client.create_experiment(name, None if self.given else (out / "mlartifacts").as_uri())

    def _run(self, network: str) -> str:
        if network not in self.runs:
            query = f"tags.`mlflow.parentRunId` = '{self.parent}' and tags.network = '{network}'"
            tags = {"mlflow.parentRunId": self.parent, "network": network}
            self.runs[network] = self._resumed(query) or self._create(f"{self.config.name} {network}", tags)
        return self.runs[network]

    def _create(self, name: str, tags: dict[str, str]) -> str:
        return self.client.create_run(self.experiment, run_name=name, tags=tags).info.run_id

    def _resumed(self, query: str) -> str | None:
        """Return the run that was begun and never ended: its process was killed."""
        running = f"{query} and attributes.status = 'RUNNING'"
        runs = self.client.search_runs([self.experiment], running, max_results=1)
        return runs[0].info.run_id if runs else None

    def _log(self, run: str, metrics: Mapping[str, float], step: int, words: Mapping[str, str] | None = None) -> None:
        from mlflow.entities import Metric, Param

        now = int(1000 * time.time())
        params = [Param(key, value[:500]) for key, value in (words or {}).items()]
        self.client.log_batch(run, [Metric(key, value, now, step) for key, value in metrics.items()], params)
