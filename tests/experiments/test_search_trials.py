"""One trial of `experiments.search`: what it is judged by, what it never sees, and when it is given up."""

from dataclasses import replace

import optuna
import pytest
from optuna.trial import TrialState
from searches import never, random_lenet, search_of, survey_of

from experiments.lab.evaluation.evaluate import accuracy
from experiments.lab.training.stopped import Diverged
from experiments.search import trial
from experiments.search.policy import LIMIT
from experiments.search.sampler import PolicySampler


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return random_lenet(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="module")
def surveyed(checkpoint):
    return survey_of(checkpoint)


@pytest.mark.parametrize("epochs", [0, 1])
def test_the_test_images_have_no_say_before_the_end(checkpoint, epochs):
    job, recipes = trial.check(search_of(checkpoint, epochs))
    blind = job._replace(dataset=job.dataset._replace(test=never))
    site = trial.survey(blind, recipes, 0.0)
    how = recipes["params=0.3"]
    study = optuna.create_study(sampler=trial.sampler(site, how, 0))
    study.optimize(trial.objective(site, how), n_trials=2)
    n = len(job.dataset.val().labels)
    for done in study.trials:
        assert [*done.intermediate_values] == [*range(epochs + 1)] * (epochs > 0)
        hits = done.user_attrs["val_top1"] * n / 100
        assert hits == pytest.approx(round(hits), abs=1e-6)  # so many of the validation images
        assert done.user_attrs["params"] <= 0.3 * 61706


def test_the_value_is_the_loss_of_the_refitted_plan_on_validation_images(surveyed):
    site, recipes = surveyed
    how = recipes["params=0.6"]
    study = optuna.create_study(sampler=trial.sampler(site, how, 0))
    study.optimize(trial.objective(site, how), n_trials=2)
    done = study.trials[1]
    small = how.build(site.job.model, site.plan(how, done.params), site.images)
    assert done.value == accuracy(small, site.job.dataset.val(), site.job.dataset, "cpu").loss
    assert how.refits


def test_validation_images_are_a_part_of_those_that_validate(checkpoint):
    search = search_of(checkpoint)
    job, _ = trial.check(replace(search, trials=replace(search.trials, validation_images=40)))
    all_of_them = trial.check(search)[0].dataset.val()
    some = job.dataset.val()
    assert len(some.labels) == 40
    assert all((all_of_them.images == image).flatten(1).all(1).any() for image in some.images)


def test_a_plan_is_not_tried_twice(surveyed, monkeypatch):
    site, recipes = surveyed
    how, said = recipes["params=0.3"], []
    study = optuna.create_study()
    study.enqueue_trial(site.start())
    run = trial.objective(site, how, said.append)
    study.optimize(run, n_trials=1)
    monkeypatch.setattr(trial, "accuracy", never)
    study.enqueue_trial(site.start())
    study.optimize(run, n_trials=1)
    first, second = study.trials
    assert (first.value, first.user_attrs) == (second.value, second.user_attrs)
    assert said[1].endswith("trial 1: the plan of trial 0")


def test_a_hopeless_trial_is_pruned_and_a_diverged_one_as_well(checkpoint, monkeypatch):
    job, recipes = trial.check(search_of(checkpoint, 2))
    site = trial.survey(job, recipes, 0.0)
    run = trial.objective(site, recipes["params=0.3"])
    pruner = optuna.pruners.ThresholdPruner(upper=1.0, n_warmup_steps=1)  # percent wrong after an epoch
    study = optuna.create_study(sampler=PolicySampler(0, site.policy.spreads, LIMIT), pruner=pruner)
    study.optimize(run, n_trials=1)

    def diverge(*_):
        raise Diverged("loss is nan in step 7")

    monkeypatch.setattr(trial, "fine_tune", diverge)
    study.optimize(run, n_trials=1)
    pruned, diverged = study.trials
    assert pruned.state == diverged.state == TrialState.PRUNED
    assert [*pruned.intermediate_values] == [0, 1]
    assert diverged.user_attrs["diverged"] == "loss is nan in step 7"
