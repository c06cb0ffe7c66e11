"""The database of a study, which any number of workers share."""

import copy
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Literal

import optuna
import sqlalchemy
from optuna.exceptions import ExperimentalWarning
from optuna.study import Study
from optuna.trial import FrozenTrial

from checks import require

from .proxy import FORM, Proxy, open_proxy
from .sqlite import sqlite_url as sqlite_url

PRUNERS: dict[str, Callable[[], optuna.pruners.BasePruner]] = {
    "median": lambda: optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
    "hyperband": optuna.pruners.HyperbandPruner,
    "none": optuna.pruners.NopPruner,
}
Storage = optuna.storages.RDBStorage | Proxy
WORKER = "worker"  # attribute of a trial: who does it
TRIES = 10  # to create the tables of an empty database, which several workers may try at once


def retry(times: int) -> Callable[[Study, FrozenTrial], None]:
    """Return what queues the settings of a trial whose worker died once more, at most so many times."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        queue = optuna.storages.RetryHeartbeatStaleTrialCallback(times)

    def again(study: Study, trial: FrozenTrial) -> None:
        copied = copy.deepcopy(trial)
        copied.user_attrs = {key: value for key, value in trial.user_attrs.items() if key != WORKER}
        queue(study, copied)

    return again


def one_at_a_time(engine: sqlalchemy.Engine) -> None:
    """Begin every transaction of SQLite with the lock for writing.

    SQLite has no SELECT ... FOR UPDATE, and Python's driver begins a transaction only at the first write, so two
    workers that read a waiting trial at once would both take it.  (SQLAlchemy's documentation, "Serializable isolation
    with pysqlite".)
    """

    @sqlalchemy.event.listens_for(engine, "connect")
    def leave_transactions_to_us(connection: Any, _: object) -> None:
        connection.isolation_level = None

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    engine.dispose()  # connections from before


def close(storage: Storage) -> None:
    """Give its connections back."""
    if isinstance(storage, Proxy):
        storage.close()
    else:
        storage.engine.dispose()


def open_storage(url: str, heartbeat: int, retries: int) -> Storage:
    """Open the database, its tables created if need be, or the server of one (grpc://HOST:PORT).

    ValueError in one sentence if it cannot be used.
    """
    if url.startswith("grpc://"):
        return open_proxy(url, heartbeat, retry(retries))
    try:
        parsed = sqlalchemy.make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")  # whichever driver SQLAlchemy prefers by default
        hidden = parsed.render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        raise ValueError(f"storage must be {FORM}, got {url!r}") from None
    wait = {"sqlite": {"timeout": 60}, "postgresql": {"connect_timeout": 10}}.get(parsed.get_backend_name(), {})
    for attempt in range(TRIES):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                storage = optuna.storages.RDBStorage(
                    parsed.render_as_string(hide_password=False),
                    engine_kwargs={"connect_args": wait, "pool_pre_ping": True},
                    heartbeat_interval=heartbeat,
                    heartbeat_stale_trial_callback=retry(retries),
                )
            if parsed.get_backend_name() == "sqlite":
                one_at_a_time(storage.engine)
            return storage
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
    storage: optuna.storages.BaseStorage,
    name: str,
    settings: Mapping[str, object],
    sampler: optuna.samplers.BaseSampler,
    pruner: str,
    direction: Literal["maximize", "minimize"] = "maximize",
) -> Study:
    """Open the study of that name, created if need be; ValueError if it was made with other settings."""
    study = optuna.create_study(
        storage=storage,
        sampler=sampler,
        pruner=PRUNERS[pruner](),
        study_name=name,
        direction=direction,
        load_if_exists=True,
    )
    made = study.user_attrs.get("settings")
    if made is None:
        study.set_user_attr("settings", dict(settings))
    else:
        other = sorted(key for key in {*made, *settings} if made.get(key) != settings.get(key))
        words = ", ".join(f"{key} was {made.get(key)!r}, is {settings.get(key)!r}" for key in other)
        require(not other, "study name", name, f"that of a study with the same settings ({words})")
    return study
