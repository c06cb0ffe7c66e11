"""Which settings are tried next."""

from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial


class SeededByTrial(BaseSampler):
    """The tree-structured Parzen estimator (Bergstra et al. 2011) is seeded anew by each trial's number.

    Workers that start with one seed would all propose the same first trials; this way no two of them do, and a single
    worker gives the same trials each time.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.inner = TPESampler(seed=seed)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Make a new sampler for each trial."""
        self.inner = TPESampler(seed=hash((self.seed, trial.number)) % 2**32)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        """Return the search space of the estimator."""
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Sample as the estimator does."""
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(self, study: Study, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        """Sample as the estimator does."""
        return self.inner.sample_independent(study, trial, name, distribution)
