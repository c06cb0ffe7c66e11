"""The policy's sampler: it improves from trial to trial, begins with the plan of loss and tries no plan twice."""

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState

from experiments.search.policy import LIMIT
from experiments.search.sampler import PolicySampler

SPREADS = dict.fromkeys("abcdef", 0.4)
BEST = dict(zip(SPREADS, (0.5, -0.4, 0.3, 0.2, -0.6, 0.1)))


def far(trial):
    return sum((trial.suggest_float(name, -LIMIT, LIMIT) - BEST[name]) ** 2 for name in SPREADS)


def test_the_sampler_improves_from_trial_to_trial_also_where_values_are_noisy():
    ratios, left = [], []
    for seed in range(6):
        generator = np.random.default_rng(seed)
        study = optuna.create_study(sampler=PolicySampler(seed, SPREADS, LIMIT))
        study.optimize(lambda t, g=generator: far(t) + 0.05 * g.normal(), n_trials=100)
        exact = [sum((t.params[n] - BEST[n]) ** 2 for n in SPREADS) for t in study.trials]
        ratios.append(np.mean(exact[-20:]) / np.mean(exact[1:21]))
        left.append(exact[study.best_trial.number] / exact[0])
    assert np.mean(ratios) < 0.4
    assert np.mean(left) < 0.25  # of what the first trial, the mean of the first policy, is away from the best
    assert max(left) < 0.6


def test_it_maximises_as_well_and_depends_on_seed_and_trial_alone():
    def values(seed, direction, sign):
        study = optuna.create_study(sampler=PolicySampler(seed, SPREADS, LIMIT), direction=direction)
        for _ in range(30):  # a new sampler each time, as in so many processes
            study.sampler = PolicySampler(seed, SPREADS, LIMIT)
            study.optimize(lambda t: sign * far(t), n_trials=1)
        return [sign * t.value for t in study.trials]

    assert values(0, "minimize", 1) == values(0, "maximize", -1)
    assert values(0, "minimize", 1)[1:] != values(1, "minimize", 1)[1:]


def test_the_first_trial_that_does_not_fail_is_the_plan_of_loss():
    study = optuna.create_study(sampler=PolicySampler(0, SPREADS, LIMIT))
    for state in (TrialState.FAIL, TrialState.PRUNED, TrialState.FAIL):
        asked = study.ask()
        far(asked)
        study.tell(asked, state=state)
    far(study.ask())
    assert [any(t.params.values()) for t in study.trials] == [False, False, True, True]
    mean, deviation = study.sampler.policy(study)  # given up, so no elite: the policy is as it was
    assert mean.tolist() == [0.0] * 6
    assert deviation == pytest.approx([0.4] * 6)


def test_a_draw_that_comes_to_what_was_tried_is_drawn_again():
    def plan(found):
        return str(round(2 * found["a"]))  # nine plans

    tried = []
    study = optuna.create_study(sampler=PolicySampler(0, SPREADS, LIMIT, plan))
    for _ in range(8):
        asked = study.ask()
        far(asked)
        tried.append(plan(asked.params))
        asked.set_user_attr("plan", tried[-1])
        study.tell(asked, 1.0)
    assert len(set(tried)) == len(tried) > len({plan(p) for p in ({"a": 0.2}, {"a": -0.2})})
