"""One study, any number of workers: exactly so many trials, none twice, and none lost with a worker that died."""

import os
import time
import warnings
from collections.abc import Callable

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import Trial, TrialState

from ..progress import Pace
from .storage import WORKER, Storage

OVER = (TrialState.COMPLETE, TrialState.PRUNED)


class Surplus(Exception):
    """This trial is one too many: another worker began the last one at the same moment."""


def identity(study: Study, storage: Storage, number: int) -> int:
    """Return the storage's own number of a trial."""
    return storage.get_trial_id_from_study_id_trial_number(storage.get_study_id_from_name(study.study_name), number)


class Lost:
    """Trials that were begun and never showed a sign of life: their worker died in the moment between the two.

    Optuna's own search for dead workers finds only those that gave one.  What is seen like that for longer than
    `patience` seconds is failed, and its settings are queued again.
    """

    def __init__(self, study: Study, patience: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.study, self.patience, self.clock = study, patience, clock
        self.since: dict[int, float] = {}

    def give_up(self, storage: Storage) -> None:
        """Fail, and queue again, each trial that gave no sign of life for `patience` seconds."""
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
    storage: Storage,
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
        # a sign of life first: whoever has named its worker is looked after by Optuna, also if it dies at once
        storage.record_heartbeat(identity(study, storage, trial.number))
        trial.set_user_attr(WORKER, f"{os.uname().nodename}:{os.getpid()}")
        before = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
        if sum(t.state != TrialState.FAIL for t in before) >= trials:
            raise Surplus
        try:
            return objective(trial)
        finally:
            taken = storage.get_trial(identity(study, storage, trial.number)).state != TrialState.RUNNING

    told = sum(trial.state in OVER for trial in study.get_trials(deepcopy=False))
    pace = Pace(trials, told)
    while True:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            optuna.storages.fail_stale_trials(study)
        lost.give_up(storage)
        states = [trial.state for trial in study.get_trials(deepcopy=False)]
        over = sum(state in OVER for state in states)
        if over > told:
            say(f"trials: {pace(over)}")
            told = over
        if over >= trials:
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
