"""The policy of `experiments.search`: plans within the budget, weights without a unit, no feature that misleads."""

import math

import numpy as np
import pytest
from searches import random_lenet, survey_of

from experiments.search import trial
from experiments.search.policy import LIMIT, Policy, normalised
from layers import compress, cost
from layers.planning import LayerForms


@pytest.fixture(scope="module")
def surveyed(tmp_path_factory):
    return survey_of(random_lenet(tmp_path_factory.mktemp("weights")))


def test_without_coefficients_the_plan_is_that_of_selector_loss(surveyed):
    site, recipes = surveyed
    for how in recipes.values():
        made = site.plan(how, site.start())
        assert made == how.plan(site.job.model, site.job.example, site.images.stats)
        assert made.selector == "loss"
        assert site.plan(how, site.start({"size": 1.0})).selector == "search"


def test_every_plan_is_within_the_budget_and_they_differ(surveyed):
    site, recipes = surveyed
    generator = np.random.default_rng(0)
    for how in recipes.values():
        plans = [site.plan(how, {name: generator.normal() for name in site.policy.spreads}) for _ in range(40)]
        limit = how.budget.fraction * plans[0].before.params
        assert all(0.9 * limit < plan.after.params <= limit for plan in plans)  # spent, and not more
        assert len({trial.key(plan) for plan in plans}) > 10
        small = compress(site.job.model, plans[0], stats=site.images.stats)
        assert cost(small, site.job.example[:1]) == plans[0].after


def test_what_weighs_more_loses_less_and_the_plan_reports_the_loss_without_the_weight(surveyed):
    site, recipes = surveyed
    how = recipes["params=0.3"]

    def errors(favoured):
        plan = site.survey.plan(how.budget, lambda layer, _: 100.0 if layer == favoured else 1.0)
        return {row.name: row.error for row in plan.layers}

    plain = errors("")
    named = [layer.name for layer in site.survey.layers if plain[layer.name] > 0]
    assert len(named) >= 2
    for name in named:
        assert errors(name)[name] < plain[name]
    offered = {form.error for layer in site.survey.layers for form in layer.forms}
    assert set(errors(named[0]).values()) <= offered


def test_a_kernel_that_weighs_more_is_taken_less(surveyed):
    site, recipes = surveyed
    how = recipes["params=0.3"]

    def taken(offset):
        plan = site.plan(how, site.start({"kernel spatial": offset}))
        return [row.kernel for row in plan.layers].count("spatial")

    assert taken(LIMIT) == 0 < taken(-LIMIT)


def scaled(survey, error, params):
    """The survey as if losses and layers had another unit."""

    def of(form):
        return form._replace(error=error * form.error, cost=form.cost._replace(params=params * form.cost.params))

    return survey._replace(layers=[LayerForms(n, [of(form) for form in forms], r) for n, forms, r in survey.layers])


def test_features_are_normalised_so_no_unit_of_loss_or_size_matters(surveyed):
    site, _ = surveyed
    policy, other = (Policy.of(s, ("svd", "spatial")) for s in (site.survey, scaled(site.survey, 1e-6, 1000)))
    for name in ("sensitivity", "size"):
        column = [of_layer[name] for of_layer in policy.features.values()]
        assert np.mean(column) == pytest.approx(0, abs=1e-9)
        assert np.var(column) == pytest.approx(1)
        assert column == pytest.approx([of_layer[name] for of_layer in other.features.values()])
    coefficients = dict(zip(policy.spreads, (0.7, -0.4, 0.3)))
    for layer in policy.features:
        assert other.weight(coefficients)(layer, "spatial") == pytest.approx(
            policy.weight(coefficients)(layer, "spatial")
        )


def test_a_constant_feature_and_a_layer_that_loses_nothing_say_nothing_wrong(surveyed):
    assert normalised(np.full(5, 0.1) + 1e-17).tolist() == [0.0] * 5
    site, _ = surveyed
    names = [layer.name for layer in site.survey.layers]
    dead = [
        layer._replace(forms=[form._replace(error=0.0) for form in layer.forms]) if layer.name == names[0] else layer
        for layer in site.survey.layers
    ]
    fixed = [layer._replace(forms=layer.forms[-1:]) if layer.name == names[1] else layer for layer in dead]
    policy = Policy.of(site.survey._replace(layers=fixed), ("svd",), residual=0.2)
    assert [*policy.features] == [names[0], *names[2:]]  # what has no choice has no say
    assert all(math.isfinite(value) for of_layer in policy.features.values() for value in of_layer.values())
    assert {name for name in policy.spreads if name.startswith("layer ")} == {f"layer {n}" for n in policy.features}
