"""`experiments.search`: the policy, its sampler, and the verb on real images with any number of workers."""

import json
import math
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
import torch
from optuna.trial import TrialState
from PIL import Image
from refusals import refused
from safetensors.torch import save_model

from experiments.config import Network
from experiments.evaluate import accuracy
from experiments.models.lenet import LeNet
from experiments.search import main
from experiments.searching import compare, outcome, tables, trial
from experiments.searching.config import Policy as Searched
from experiments.searching.config import Search, Trials
from experiments.searching.policy import LIMIT, Policy, normalised
from experiments.searching.sampler import PolicySampler
from experiments.stopped import Diverged
from experiments.tuning.config import Workers
from experiments.tuning.storage import WORKER, open_storage, open_study
from layers import Cost, Plan, compress, cost, load
from layers.choice import Layer, choose

ROOT = Path(__file__).parents[1]
QUICK = "--budget params=0.3 --kernel svd spatial --epochs 0 --calibration-images 200 --accelerator cpu"
pytestmark = pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")  # heartbeats are, to Optuna


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Weights of LeNet, as random as they begin: what is tested here is asked of any network."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "lenet.safetensors"
    save_model(LeNet(), str(path))
    return path


def search_of(checkpoint, epochs=0, budget=("params=0.3",), images=200, **policy):
    policy = Searched(budget, **{"kernel": ("svd", "spatial")} | policy)
    return Search(Network(checkpoint=checkpoint), policy=policy, trials=Trials(epochs, calibration_images=images))


@pytest.fixture(scope="module")
def surveyed(checkpoint):
    """(site, recipes) of two budgets."""
    search = search_of(checkpoint, budget=("params=0.3", "params=0.6"), images=1000)
    job, recipes = trial.check(search)
    return trial.survey(job, recipes, 0.0), recipes


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
    how, model = recipes["params=0.3"], site.job.model

    def errors(favoured):
        plan = choose(model, site.survey, how.budget, lambda layer, _: 100.0 if layer == favoured else 1.0)
        return {row.name: row.error for row in plan.layers}

    plain = errors("")
    named = [layer.name for layer in site.survey.layers if plain[layer.name] > 0]
    assert len(named) >= 2
    for name in named:
        assert errors(name)[name] < plain[name]
    offered = {option.error for layer in site.survey.layers for option in layer.options}
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

    def of(option):
        return option._replace(
            error=error * option.error, cost=option.cost._replace(params=params * option.cost.params)
        )

    return survey._replace(layers=[Layer(n, [of(o) for o in options], r) for n, options, r in survey.layers])


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
        layer._replace(options=[o._replace(error=0.0) for o in layer.options]) if layer.name == names[0] else layer
        for layer in site.survey.layers
    ]
    fixed = [layer._replace(options=layer.options[-1:]) if layer.name == names[1] else layer for layer in dead]
    policy = Policy.of(site.survey._replace(layers=fixed), ("svd",), residual=0.2)
    assert [*policy.features] == [names[0], *names[2:]]  # what has no choice has no say
    assert all(math.isfinite(value) for of_layer in policy.features.values() for value in of_layer.values())
    assert {name for name in policy.spreads if name.startswith("layer ")} == {f"layer {n}" for n in policy.features}


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


def never(*_):
    raise AssertionError("this was not to be done")


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
    assert how.refit


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


def trials_of(folder, budget="params=0.3"):
    storage = open_storage(f"sqlite:///{folder / 'study.db'}", 60, 3)
    found = optuna.load_study(study_name=f"{folder.name} {budget}", storage=storage).get_trials()
    storage.engine.dispose()
    return found


@pytest.fixture(scope="module")
def found(checkpoint, tmp_path_factory):
    """(the study's folder, arguments) of five trials of either budget."""
    out = tmp_path_factory.mktemp("runs")
    arguments = [*QUICK.split(), "--budget", "params=0.3", "params=0.6", "--checkpoint", str(checkpoint)]
    arguments += ["--out", str(out)]
    assert main([*arguments, "--trials", "5"]) == 0
    (folder,) = out.iterdir()
    return folder, arguments


def test_the_tables_the_figure_and_the_page(found):
    folder, _ = found
    table = pd.read_csv(folder / "trials.csv")
    assert [*table.budget] == ["params=0.3"] * 5 + ["params=0.6"] * 5
    assert (table.params_kept <= table.budget.str[-3:].astype(float)).all()
    first = table[table.trial == 0]
    assert (first.filter(like="policy ") == 0).all(axis=None)
    front = pd.read_csv(folder / "front.csv")
    rounded = {name: table[name].round(3) for name in ("macs_kept", "params_kept")}
    table, front = table.assign(**rounded), front.round({"macs_kept": 3, "params_kept": 3})
    for _, row in front.iterrows():
        beats = (table.macs_kept <= row.macs_kept) & (table.params_kept <= row.params_kept)
        beats &= (table.val_top1 >= row.val_top1) & (
            (table.macs_kept < row.macs_kept) | (table.params_kept < row.params_kept) | (table.val_top1 > row.val_top1)
        )
        assert not beats.any()
    assert len(front) == table.front.sum() >= 1
    best = pd.read_csv(folder / "best.csv").set_index("best")
    for budget, group in table.groupby("budget"):
        assert best.loc[f"lowest validation loss, {budget}"].val_loss == group.val_loss.min()
    page = (folder / "report.html").read_text()
    for words in (*outcome.HEADS.values(), "The best plan, params=0.3", "data:image/png;base64,"):
        assert words in page
    with Image.open(folder / "search.png") as image:
        assert len(image.convert("RGB").getcolors(1 << 24)) > 50  # something is drawn
    assert (folder / "search.pdf").read_bytes().startswith(b"%PDF")


def test_the_best_network_of_each_budget_and_what_is_said_of_it(found, checkpoint):
    folder, _ = found
    job, recipes = trial.check(search_of(checkpoint, budget=("params=0.3", "params=0.6")))
    rows = pd.read_csv(folder / "comparison.csv").set_index(["budget", "plan"])
    said = json.loads((folder / "found.json").read_text())["said"]
    for budget, how in recipes.items():
        plan, again = Plan.load(folder / budget / "plan.json"), load(folder / budget, LeNet())
        row = rows.loc[budget, "search"]
        assert cost(again, job.example[:1]).params == row.params <= how.budget.fraction * plan.before.params
        right = accuracy(again, job.dataset.test(), job.dataset, "cpu")
        assert (right.top1, right.loss) == pytest.approx((row.test_top1, row.test_loss))
        best = min(trials_of(folder, budget), key=lambda t: t.value)
        assert row.trial == best.number
        assert row.val_loss == pytest.approx(best.value, rel=1e-6)
        assert row.val_loss <= rows.loc[budget, "loss"].val_loss
        layers = pd.read_csv(folder / budget / "layers.csv").set_index("layer")
        assert layers.params_after["total"] == row.params
        (sentence,) = [words for words in said if words.startswith(budget)]
        assert ("adds nothing" in sentence) == (best.number == 0)


def test_more_trials_continue_and_a_finished_search_is_not_repeated(found, monkeypatch, capsys):
    folder, arguments = found
    before = [(t.number, t.value) for t in trials_of(folder)]
    table = (folder / "comparison.csv").read_text()
    with monkeypatch.context() as patch:
        patch.setattr(outcome, "compare", never)
        assert main([*arguments, "--trials", "5"]) == 0
    assert "test top-1" in capsys.readouterr().out
    assert (folder / "comparison.csv").read_text() == table
    assert main([*arguments, "--trials", "6"]) == 0
    after = [(t.number, t.value) for t in trials_of(folder)]
    assert after[:5] == before
    assert len(after) == 6
    assert len(pd.read_csv(folder / "trials.csv")) == 12


def test_two_processes_do_so_many_trials_together(checkpoint, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    words = [*QUICK.split(), "--checkpoint", str(checkpoint), "--out", str(tmp_path), "--trials", "12"]
    other = subprocess.Popen(
        [sys.executable, "-m", "experiments.search", *words], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        while not list(tmp_path.glob("*/study.db")):  # the other has begun
            assert other.poll() is None
            time.sleep(0.05)
        assert main(words) == 0
        assert other.wait(timeout=120) == 0
    finally:
        other.kill()
    (folder,) = tmp_path.iterdir()
    complete = [t for t in trials_of(folder) if t.state == TrialState.COMPLETE]
    assert len(complete) == 12
    assert len({tuple(t.params.values()) for t in complete}) == 12
    assert all(WORKER in t.user_attrs for t in complete)
    assert json.loads((folder / "found.json").read_text())["trials"] == {"params=0.3": 12}


REFUSALS = {
    "": "checkpoint must be given, or --pretrained",
    "--checkpoint FILE --epochs 4": "epochs must be 0 to 3, got 4",
    "--checkpoint FILE --trials 0": "trials must be at least 1, got 0",
    "--checkpoint FILE --kernel svd sdv": "kernel must be one of .*, got 'sdv'",
    "--checkpoint FILE --kernel dct --budget params=0.5": "kernel must be auto, or some of svd, spatial",
    "--checkpoint FILE --kernel svd svd": "kernel must be one or more distinct values",
    "--checkpoint FILE --budget params=0.001 --calibration-images 50": "budget must be within reach of loss, at least",
    "--checkpoint FILE --budget params=0.5 macs=0.5": "budget must be of one metric",
    "--checkpoint FILE --budget latency=0.5": "budget must be on macs, params or bytes",
    "--checkpoint FILE --budget macs=2": "budget macs must be a fraction above 0 and at most 1",
    "--checkpoint FILE --residual 2": "residual must be from 0 to 1, got 2.0",
    "--checkpoint FILE --max-epochs 3": "max epochs must be left out: pass --epochs",
    "--checkpoint FILE --devices 2": r"devices and nodes must be 1 each: .*, got \(2, 1\)",
    "--checkpoint FILE --validation-images 0": "validation images must be 1 to ",
    "--checkpoint FILE --calibration-images 5000": "calibration images must be 1 to ",
    "--checkpoint FILE --storage nonsense": "storage must be DIALECT://USER:PASSWORD@HOST/NAME or sqlite:///FILE",
    "--checkpoint FILE --dataset cifar": "dataset must be one of digits",
    "--checkpoint TMP/nowhere": "checkpoint must be a safetensors file",
}


@pytest.mark.parametrize("arguments", REFUSALS)
def test_bad_input_is_refused_in_one_sentence(arguments, checkpoint, tmp_path, capsys):
    given = arguments.replace("FILE", str(checkpoint)).replace("TMP", str(tmp_path)).split()
    given += ["--accelerator", "cpu", "--out", str(tmp_path / "runs")]
    error = refused(main, given, tmp_path, capsys)
    assert re.search(REFUSALS[arguments], error), error


def test_other_settings_or_weights_do_not_join_a_study(checkpoint, tmp_path, capsys):
    storage = open_storage(f"sqlite:///{tmp_path / 'a.db'}", 60, 3)
    search = search_of(checkpoint)
    open_study(storage, "ours params=0.3", search.flat("0a1b2c3d"), PolicySampler(0, {}, LIMIT), "none", "minimize")
    storage.engine.dispose()
    words = [*QUICK.split(), "--checkpoint", str(checkpoint), "--study-name", "ours", "--out", str(tmp_path)]
    assert main([*words, "--storage", f"sqlite:///{tmp_path / 'a.db'}"]) == 2
    error = capsys.readouterr().err
    mine = trial.fingerprint(trial.check(search)[0].model)
    assert "with the same settings (accelerator" not in error
    assert re.search(rf"with the same settings \(.*checkpoint was '0a1b2c3d', is '{mine}'", error)


def test_names_are_the_same_on_every_machine(checkpoint, tmp_path):
    search = search_of(checkpoint)
    moved = replace(search, network=Network(checkpoint=tmp_path / "elsewhere"), output=Workers(trials=7))
    moved = replace(moved, data=replace(moved.data, data_root=Path("/mnt")))
    assert moved.name("0a1b2c3d") == search.name("0a1b2c3d") != search.name("3d2c1b0a")
    assert replace(search, trials=Trials(1)).name("0a1b2c3d") != search.name("0a1b2c3d")
    assert Search().output.trials == 100


def test_a_pruned_trial_has_no_loss_and_no_place_in_the_front():
    study = optuna.create_study()
    for value, plan in ((0.5, "a"), (None, "b"), (0.4, "c"), (0.4, "c")):
        asked = study.ask()
        for name, attribute in {"params": 10, "macs": 10, "bytes": 10, "plan": plan}.items():
            asked.set_user_attr(name, attribute)
        if value is None:
            asked.report(61.7, 0)  # percent wrong
            study.tell(asked, state=TrialState.PRUNED)
        else:
            asked.set_user_attr("val_top1", 100 * value)
            study.tell(asked, value)
    table = tables.trials({"macs=0.5": study}, Cost(20, 20, 20))
    assert table.val_loss.isna().tolist() == [False, True, False, False]
    assert table.front.tolist() == [True, False, False, False]
    assert table.params_kept.tolist() == [0.5] * 4


def test_what_nothing_beats():
    points = np.array([[1.0, 5.0], [2.0, 3.0], [2.0, 4.0], [3.0, 3.0], [2.0, 3.0], [4.0, 1.0]])
    assert tables.undominated(points).tolist() == [True, True, False, False, True, True]


def test_the_best_configurations_are_within_two_points_or_save_three_tenths():
    rows = [
        ("macs=0.5", 0, "complete", 90.0, 0.30, 0.5, 0.6),
        ("macs=0.5", 1, "complete", 88.0, 0.35, 0.4, 0.8),
        ("macs=0.5", 2, "complete", 87.9, 0.25, 0.3, 0.5),
        ("macs=0.5", 3, "pruned", 95.0, float("nan"), 0.1, 0.1),
    ]
    names = ["budget", "trial", "state", "val_top1", "val_loss", "macs_kept", "params_kept"]
    table = pd.DataFrame(rows, columns=names)
    table = table.assign(macs=100 * table.macs_kept, params=100 * table.params_kept, bytes_kept=table.params_kept)
    assert tables.best(table, 90.0).trial.tolist() == [0, 1, 0, 2]
    none = tables.best(table, 99.0)
    assert none.trial.isna().tolist() == [True, True, False, False]
    assert outcome.percentages(none).trial.tolist() == ["", "", "0", "2"]


def test_what_search_adds_is_said_with_its_chance():
    before, after = torch.tensor([True] * 80 + [False] * 20), torch.tensor([True] * 78 + [False] * 2 + [True] * 20)
    points, error = compare.paired(before, after)
    assert points == pytest.approx(18.0)
    assert error == pytest.approx(1.96 * 100 * math.sqrt((22 - 18**2 / 100) / 100**2))
    assert compare.paired(before, before) == (0.0, 0.0)
    row = compare.Row("macs=0.5", "loss", 0, 1, 1, 1, 90.0, 0.5, 89.0, 0.6)
    rows = {"loss": row, "search": row._replace(plan="search", trial=7, val_loss=0.45, val_top1=91.0)}
    for gain, verdict in ((0.3, "no more than chance"), (0.6, "better"), (-0.6, "worse")):
        words = compare.words(compare.Gain("macs=0.5", 7, gain, 0.4), rows, 100, (500, 10000))
        assert words.endswith(f"on 10,000 test images that is {gain:+.2f} ± 0.40 points: {verdict}")
        assert "trial 7 of 100 changes the loss on 500 validation images" in words
    assert "adds nothing: none of 100" in compare.words(compare.Gain("macs=0.5", 0, 0, 0), rows, 100, (500, 10000))
