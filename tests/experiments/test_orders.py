"""`sweep --compress`: every list of a grid is a trial, made once, also by workers that share the study and die."""

import json
import signal

import pandas as pd
import pytest
from kills import exit_code, kill_at
from safetensors.torch import save_file

from experiments.lab.models.lenet import LeNet
from experiments.lab.runs.record import commit
from experiments.lab.steps.finetune import Finetune
from experiments.lab.steps.weights import Weights
from experiments.reproduce.read_others import of_orders
from experiments.sweep import orders
from experiments.sweep.__main__ import main
from experiments.sweep.orders_outcome import STORED, TIME, at_levels, best

LISTS = [
    "svd params={0.7,0.9} selector=energy, weights 0.5",
    "weights 0.5, finetune 1",
    "svd params=0.001 selector=energy",
]


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    path = tmp_path_factory.mktemp("given") / "lenet.safetensors"
    save_file(LeNet().state_dict(), path)
    return ["--checkpoint", str(path), "--latency-batches", "1", "--rep", "--compress", *LISTS]


def killed(words, count):
    Weights.apply = kill_at(count, Weights.apply)
    main(words)


def test_a_study_that_is_killed_goes_on_and_makes_every_list_once(words, tmp_path, capsys, monkeypatch):
    words = [*words, "--out", str(tmp_path), "--heartbeat", "1"]
    assert exit_code(killed, words, 2) == -signal.SIGKILL
    made = []
    apply = Finetune.apply
    monkeypatch.setattr(Finetune, "apply", lambda *args: made.append(1) or apply(*args))
    assert main(words) == 0
    (folder,) = tmp_path.iterdir()
    table = pd.read_csv(folder / "orders.csv")
    assert sorted(table.order) == ["svd, weights", "svd, weights", "weights, finetune"]
    assert len(made) == 1
    printed = capsys.readouterr()
    assert "Left out: 1, the first since budget must be within reach" in " ".join(printed.out.split())
    assert (folder / "orders.png").is_file()
    source = of_orders(folder)
    keys = [("dense", "1"), ("svd-selector=energy+weights-0.5", "params=0.7"), ("weights+finetune", "0.5")]
    assert {*keys, ("svd-selector=energy+weights-0.5", "params=0.9")} == {one.key for one in source.measured}
    assert all({"top1", "bytes"} <= set(one.numbers) for one in source.measured)
    told = pd.read_csv(folder / "orders.csv").assign(latency_1_noisy=[False, True, False])
    told.to_csv(folder / "orders.csv", index=False)
    speeds = [one.numbers.get("speedup") for one in of_orders(folder).measured]
    assert speeds == [None, 1 / told.latency_1[0], None, 1 / told.latency_1[2]]
    told.drop(columns="latency_1_noisy").to_csv(folder / "orders.csv", index=False)
    assert not any("speedup" in one.numbers for one in of_orders(folder).measured)
    assert (source.seed, source.environment["commit"]) == (0, commit())
    states = {path.parent.name for path in (folder / "states").glob("*/network")}
    assert len(states) == 6  # what lists have in common at their beginning is there once
    assert json.loads((folder / "states" / "weights-0.5" / "network" / "state.json").read_text())["rung"]["top1"] >= 0
    assert main(words) == 0
    assert len(made) == 1


def test_two_workers_that_took_the_same_list_leave_none_out():
    import optuna

    study, names = optuna.create_study(sampler=orders.Next(), direction="maximize"), ["a", "b", "c"]
    for name in ("a", "a"):
        study.enqueue_trial({orders.STEPS: name})
    study.optimize(lambda trial: float(trial.suggest_categorical(orders.STEPS, names) == "a"), n_trials=3)
    assert orders.missing(study, names) == ["c"]
    study.optimize(lambda trial: float(trial.suggest_categorical(orders.STEPS, names) == "a"), n_trials=1)
    assert orders.missing(study, names) == []


def test_validation_images_choose_the_points():
    rows = [
        ("a", 0.2, 0.5, 90.0, 80.0),
        ("a", 0.25, 0.3, 91.0, 70.0),
        ("a", 0.9, 0.9, 99.0, 99.0),
        ("b", 0.5, 0.7, 50.0, 51.0),
    ]
    table = pd.DataFrame(rows, columns=["order", STORED, TIME, "val_top1", "top1"])
    assert best(table, "a", STORED, 0.25).top1 == 70
    assert best(table, "b", STORED, 0.25) is None
    words = at_levels(table)
    cells = {row[0]: dict(zip(words.header, row)) for row in words.rows}
    assert (cells["a"]["bytes <= 0.5"], cells["b"]["bytes <= 0.5"], cells["b"]["bytes <= 0.25"]) == (
        "70.00",
        "51.00",
        "",
    )


def test_braces_are_written_out():
    assert orders.expanded(("svd macs={0.4,0.6}, finetune {1,2}", "half")) == (
        *(
            "svd macs=0.4, finetune 1",
            "svd macs=0.4, finetune 2",
            "svd macs=0.6, finetune 1",
            "svd macs=0.6, finetune 2",
        ),
        "half",
    )
