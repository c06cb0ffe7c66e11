"""A study's storage behind a gRPC server, so that many workers need one connection to the database, not one each."""

import time
import warnings
from collections.abc import Callable
from functools import partial
from urllib.parse import urlsplit

from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import GrpcStorageProxy
from optuna.storages._heartbeat import BaseHeartbeat  # which optuna.storages names nowhere
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from checks import require

HEARTBEAT = "heartbeat"  # system attribute of a trial: a number that its worker changes
ANSWERS = 10.0  # seconds in which a server must answer
FORM = "DIALECT://USER:PASSWORD@HOST/NAME, sqlite:///FILE or grpc://HOST:PORT"


class Proxy(GrpcStorageProxy, BaseHeartbeat):
    """GrpcStorageProxy with signs of life, which Optuna's own has not: numbers that are kept with the trials.

    A worker is taken for dead when its number has not changed for two intervals of this process's clock.
    """

    def __init__(
        self, host: str, port: int, interval: int, stale: Callable[[Study, FrozenTrial], None], grace: int = 2
    ) -> None:
        self.interval, self.stale, self.grace = interval, stale, grace
        self.seen: dict[int, tuple[float, float]] = {}  # trial -> its number, and when this process saw it first
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            super().__init__(host=host, port=port)

    def record_heartbeat(self, trial_id: int) -> None:
        """Change the trial's number; one that is finished needs no sign of life."""
        try:
            self.set_trial_system_attr(trial_id, HEARTBEAT, time.time())
        except UpdateFinishedTrialError:
            return

    def _get_stale_trial_ids(self, study_id: int) -> list[int]:
        now, running = time.monotonic(), self.get_all_trials(study_id, deepcopy=False, states=(TrialState.RUNNING,))
        beats = {trial._trial_id: trial.system_attrs[HEARTBEAT] for trial in running if HEARTBEAT in trial.system_attrs}
        known = self.seen
        self.seen = {
            trial: known[trial] if trial in known and known[trial][0] == beat else (beat, now)
            for trial, beat in beats.items()
        }
        return [trial for trial, (_, since) in self.seen.items() if now - since > self.grace * self.interval]

    def get_heartbeat_interval(self) -> int:
        """Return the seconds between two signs of life."""
        return self.interval

    def get_heartbeat_stale_trial_callback(self) -> Callable[[Study, FrozenTrial], None]:
        """Return what queues the trial of a dead worker once more."""
        return self.stale


def open_proxy(url: str, heartbeat: int, stale: Callable[[Study, FrozenTrial], None]) -> Proxy:
    """Connect to grpc://HOST:PORT; ValueError in one sentence where nothing answers, or gRPC is not installed."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    require(host is not None and port is not None, "storage", url, FORM)
    try:
        proxy = Proxy(host or "", port or 0, heartbeat, stale)
        ready = partial(proxy.wait_server_ready, timeout=ANSWERS)
    except ImportError as error:
        advice = "one whose driver is installed, for gRPC with pip install -e '.[grpc]'"
        raise ValueError(f"storage must be {advice}, got {url!r} ({error})") from None
    try:
        ready()
    except ConnectionError as error:
        proxy.close()
        raise ValueError(f"storage must be a server of Optuna's that answers, got {url!r} ({error})") from None
    return proxy
