"""Which coefficients of the policy are tried next: the cross-entropy method, over any number of workers."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

ELITE = 0.2  # part of the finished trials that the next ones are drawn like
PRIOR = 1.0  # weight, in elite trials, of the policy that the search began with
DRAWS = 10  # of one trial, at most, to find a plan that is new
WIDER = 1.25  # each than the one before
PLAN = "plan"  # attribute of a trial: what its coefficients come to


def _value(trial: FrozenTrial) -> float:
    """Return the value of a complete trial."""
    assert trial.value is not None
    return trial.value


class PolicySampler(BaseSampler):
    """A Gaussian for each coefficient, with the mean and deviation of the best fifth of all trials so far.

    The cross-entropy method (Rubinstein 1999), of all trials instead of generations: each draw is computed from the
    study and the trial's number alone, so workers share one policy and none waits for another.  The Gaussian of before
    the first trial counts as one more elite trial, and the first trial is its mean, 0.

    plan: what coefficients come to, in a text that trials keep as their attribute `plan`; a draw that comes to what was
    tried is drawn again, a little wider.
    """

    def __init__(
        self, seed: int, spreads: Mapping[str, float], limit: float, plan: Callable[[dict[str, float]], str] = str
    ) -> None:
        self.seed, self.spreads, self.limit, self.plan = seed, dict(spreads), limit, plan

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return all coefficients: they are drawn together."""
        return {name: FloatDistribution(-self.limit, self.limit) for name in self.spreads}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Return the mean of the first policy for the first trial that does not fail, else a draw."""
        others = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
        if all(t.state == TrialState.FAIL for t in others):
            return dict.fromkeys(self.spreads, 0.0)
        mean, deviation = self.policy(study)
        generator, tried = np.random.default_rng((self.seed, trial.number)), {t.user_attrs.get(PLAN) for t in others}
        coefficients: dict[str, float] = {}
        for draw in range(DRAWS):
            drawn = generator.normal(mean, deviation * WIDER**draw).clip(-self.limit, self.limit)
            coefficients = dict(zip(self.spreads, drawn.tolist()))
            if self.plan(coefficients) not in tried:
                break
        return coefficients

    def policy(self, study: Study) -> tuple[np.ndarray, np.ndarray]:
        """Return (means, standard deviations) by coefficient.  Pruned trials count, but are no elite."""
        finished = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        complete = [t for t in finished if t.state == TrialState.COMPLETE]
        best = sorted(complete, key=_value, reverse=study.direction == StudyDirection.MAXIMIZE)
        elite = best[: math.ceil(ELITE * len(finished))]
        first = np.array([*self.spreads.values()])
        drawn = np.array([[t.params[name] for name in self.spreads] for t in elite]).reshape(-1, len(first))
        mean = drawn.sum(0) / (PRIOR + len(elite))
        squares = PRIOR * (first**2 + mean**2) + ((drawn - mean) ** 2).sum(0)
        return mean, np.sqrt(squares / (PRIOR + len(elite)))

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """Refuse: all coefficients are drawn together."""
        raise ValueError(f"parameter must be one of {', '.join(self.spreads)}, got {name!r}")
