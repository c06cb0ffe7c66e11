"""One study, any number of workers: exactly so many trials, none twice, and none lost with a worker that died."""

import copy
import os
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from checks import need

OVER = (TrialState.COMPLETE, TrialState.PRUNED)
PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
    "hyperband": optuna.pruners.HyperbandPruner,
    "none": optuna.pruners.NopPruner,
}
WORKER = "worker"  # attribute of a trial: who does it
TRIES = 10  # to create the tables of an empty database, which several workers may try at once


class Surplus(Exception):
    """This trial is one too many: another worker began the last one at the same moment."""


class SeededByTrial(BaseSampler):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), seeded anew for each trial by the trial's number.

    Workers that start with one seed would all propose the same first trials; this way no two of them do, and a single
    worker gives the same trials each time.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.inner = TPESampler(seed=seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """A new sampler for each."""
        self.inner = TPESampler(seed=hash((self.seed, trial.number)) % 2**32)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """As the estimator does."""
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the estimator does."""
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """As the estimator does."""
        return self.inner.sample_independent(study, trial, name, distribution)


def retry(times: int) -> Callable[[Study, FrozenTrial], None]:
    """What queues the settings of a trial whose worker died once more, up to so many times."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        queue = optuna.storages.RetryHeartbeatStaleTrialCallback(times)

    def again(study: Study, trial: FrozenTrial) -> None:
        copied = copy.deepcopy(trial)
        copied.user_attrs = {key: value for key, value in trial.user_attrs.items() if key != WORKER}
        queue(study, copied)

    return again


def open_storage(url: str, heartbeat: int, retries: int) -> optuna.storages.RDBStorage:
    """The database, its tables created if need be; ValueError in one sentence if it cannot be used."""
    try:
        parsed = sqlalchemy.make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")  # whichever driver SQLAlchemy prefers by default
        hidden = parsed.render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        raise ValueError(f"storage must be DIALECT://USER:PASSWORD@HOST/NAME or sqlite:///FILE, got {url!r}") from None
    wait = {"sqlite": {"timeout": 60}, "postgresql": {"connect_timeout": 10}}.get(parsed.get_backend_name(), {})
    for attempt in range(TRIES):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                return optuna.storages.RDBStorage(
                    parsed.render_as_string(hide_password=False),
                    engine_kwargs={"connect_args": wait, "pool_pre_ping": True},
                    heartbeat_interval=heartbeat,
                    heartbeat_stale_trial_callback=retry(retries),
                )
        except ImportError as error:
            advice = "one whose driver is installed, for PostgreSQL with pip install -e '.[postgres]'"
            raise ValueError(f"storage must be {advice}, got {hidden!r} ({error})") from None
        except RuntimeError as error:  # tables of another Optuna, or of another program
            raise ValueError(f"storage must be a database of this Optuna's own, got {hidden!r} ({error})") from None
        except sqlalchemy.exc.SQLAlchemyError as error:
            beaten = any(words in str(error) for words in ("already exists", "UNIQUE", "unique"))
            if beaten and attempt < TRIES - 1:
                time.sleep(0.2)
                continue
            reason = " ".join(str(getattr(error, "orig", None) or error).split())
            raise ValueError(f"storage must be a database that answers, got {hidden!r} ({reason})") from None
    raise AssertionError("the last try returns or raises")


def open_study(
    storage: optuna.storages.BaseStorage, name: str, settings: Mapping[str, object], seed: int, pruner: str
) -> Study:
    """The study of that name, created if need be; ValueError if it was made with other settings."""
    study = optuna.create_study(
        storage=storage,
        sampler=SeededByTrial(seed),
        pruner=PRUNERS[pruner](),
        study_name=name,
        direction="maximize",
        load_if_exists=True,
    )
    made = study.user_attrs.get("settings")
    if made is None:
        study.set_user_attr("settings", dict(settings))
    else:
        other = sorted(key for key in {*made, *settings} if made.get(key) != settings.get(key))
        words = ", ".join(f"{key} was {made.get(key)!r}, is {settings.get(key)!r}" for key in other)
        need(not other, "study name", name, f"that of a study with the same settings ({words})")
    return study


def identity(study: Study, storage: optuna.storages.RDBStorage, number: int) -> int:
    """The storage's own number of a trial."""
    return storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(study.study_name), number)


class Lost:
    """Trials that were begun and never showed a sign of life: their worker died in the moment between the two.

    Optuna's own search for dead workers finds only those that gave one.  What is seen like that for longer than
    `patience` seconds is failed, and its settings are queued again.
    """

    def __init__(self, study: Study, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.study, self.patience, self.clock = study, patience, clock
        self.since: dict[int, float] = {}

    def give_up(self, storage: optuna.storages.RDBStorage) -> None:
        """Look once."""
        running = self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        silent = {trial.number: trial for trial in running if WORKER not in trial.user_attrs}
        self.since = {number: self.since.get(number, self.clock()) for number in silent}
        for number, trial in silent.items():
            if self.clock() - self.since[number] > self.patience:
                try:
                    storage.set_trial_state_values(identity(self.study, storage, number), TrialState.FAIL)
                except UpdateFinishedTrialError:
                    continue  # another worker was faster
                again = storage.get_heartbeat_stale_trial_callback()
                assert again is not None
                again(self.study, trial)


def work(
    study: Study,
    storage: optuna.storages.RDBStorage,
    objective: Callable[[Trial], float],
    trials: int,
    say: Callable[[str], None] = lambda words: None,
) -> None:
    """Do trials until the study has `trials` that are complete or pruned, those of other workers included.

    A worker with nothing left to begin waits for the others: if one dies, its trial is taken up here.
    """
    heartbeat = storage.get_heartbeat_interval()
    assert heartbeat is not None
    lost, waiting, taken = Lost(study, 2 * heartbeat), False, False

    def guarded(trial: Trial) -> float:
        nonlocal taken
        taken = False
        trial.set_user_attr(WORKER, f"{os.uname().nodename}:{os.getpid()}")
        before = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
        if sum(t.state != TrialState.FAIL for t in before) >= trials:
            raise Surplus
        try:
            return objective(trial)
        finally:
            taken = storage.get_trial(identity(study, storage, trial.number)).state != TrialState.RUNNING

    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
        lost.give_up(storage)
        states = [trial.state for trial in study.get_trials(deepcopy=False)]
        if sum(state in OVER for state in states) >= trials:
            return
        if TrialState.WAITING in states or sum(state != TrialState.FAIL for state in states) < trials:
            waiting = False
            try:
                study.optimize(guarded, n_trials=1, catch=(Surplus,))
            except Exception:  # of several types: Optuna has no way to say that it cannot tell a trial's result
                if not taken:
                    raise
                say(f"a trial was given to another worker: this one showed no sign of life for {2 * heartbeat} s")
            continue
        if not waiting:
            say(f"waiting for {states.count(TrialState.RUNNING)} trials of other workers")
            waiting = True
        time.sleep(min(heartbeat, 5) / 2)
