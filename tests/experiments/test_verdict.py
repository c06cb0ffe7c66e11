"""What a page says of the numbers: which network to ship, and whether a difference is more than chance."""

import numpy as np
import pytest
from run_folders import results, row

from experiments.lab.reporting.comparison import Comparison, brief_names
from experiments.lab.reporting.page.chance import difference, packed, unpacked
from experiments.lab.reporting.page.front import fronts, pareto
from experiments.lab.reporting.page.ladder import ladders, steps
from experiments.lab.reporting.page.ranking import ranking
from experiments.lab.reporting.page.verdict import verdict
from experiments.lab.reporting.peers import CIFAR10


def net(name, top1, macs=0.5, **other):
    return row(name, macs, **{"top1": top1, "latency_64": 3e-3 * macs, **other})


DENSE = net("dense", 90.0, 1.0)


def judged(*rows, **runs):
    return verdict(Comparison({"a": results(DENSE, *rows), **runs}))


def test_the_cheapest_network_that_loses_at_most_a_point_is_the_one_to_ship():
    said = judged(net("svd", 89.5, 0.6), net("cp", 89.2, 0.4), net("tucker", 80.0, 0.2))
    assert said.choice[1]["network"] == "cp"
    assert said.headline.startswith("Ship cp: as accurate as dense, 60\xa0% fewer multiply-accumulates")
    assert "cp has 89.20\xa0% of 360 test images right (dense: 90.00\xa0%) at 40\xa0%" in said.sentences[0]
    assert len(said.sentences) == 2


def test_of_networks_of_about_the_same_cost_the_most_accurate_is_shipped_and_of_equals_the_fastest():
    assert judged(net("svd", 89.1, 0.50), net("cp", 89.9, 0.52)).choice[1]["network"] == "cp"
    slow, fast = net("svd", 90.0, 0.5, latency_64=9e-3), net("cp", 90.0, 0.52)
    assert judged(slow, fast).choice[1]["network"] == "cp"


def test_where_all_lose_more_than_a_point_the_one_that_loses_least_is_named_and_not_shipped():
    said = judged(net("svd", 70.0), net("cp", 85.0))
    assert said.headline.startswith("cp loses least: 5.0 points")
    assert "Ship" not in said.headline


def test_what_saves_nothing_leaves_the_dense_network():
    assert judged(net("dct", 90.0, 1.0)).headline == "Ship the dense network."
    assert judged().headline == "Nothing was compressed."


def test_what_saves_no_multiplications_is_judged_by_its_parameters():
    said = judged(net("dct", 90.0, 1.0, params=30000))
    assert "50\xa0% fewer parameters" in said.headline


def test_runs_on_different_images_have_no_one_winner():
    other = results(DENSE, net("cp", 90.0), dataset="mnist")
    said = judged(net("svd", 90.0), b=other)
    assert said.headline.startswith("No one winner")
    assert said.choice is None


def bits(n, wrong):
    right = np.ones(n, dtype=bool)
    right[wrong] = False
    return packed(right)


def test_on_the_same_images_the_test_is_mcnemars():
    """Ten images only the first has wrong, two only the second: p = 2 (1 + 12 + 66) / 2^12, by hand."""
    right = bits(400, [*range(10)]), bits(400, [20, 21])
    found = difference({"top1": 97.5}, {"top1": 99.5}, 400, right)
    assert found.points == pytest.approx(-2.0)
    assert found.p == pytest.approx(2 * (1 + 12 + 66) / 2**12)
    assert not found.chance
    assert found.low < -2 < found.high < 0


def test_without_the_images_it_is_that_of_two_samples_which_sees_less():
    right = bits(400, [*range(10)]), bits(400, [20, 21])
    paired = difference({"top1": 97.5}, {"top1": 99.5}, 400, right)
    apart = difference({"top1": 97.5}, {"top1": 99.5}, 400, None)
    assert apart.p is None
    assert apart.high - apart.low > paired.high - paired.low


def test_equal_answers_are_no_difference():
    right = bits(400, [3, 4])
    found = difference({"top1": 99.5}, {"top1": 99.5}, 400, (right, right))
    assert (found.points, found.p, found.chance) == (0.0, 1.0, True)


@pytest.mark.parametrize("n", [1, 7, 8, 9, 360])
def test_which_images_are_right_survives_the_file(n):
    right = np.random.default_rng(n).random(n) < 0.5
    assert unpacked(packed(right), n).tolist() == right.tolist()


def test_the_verdict_uses_the_images_where_both_networks_have_them():
    with_images = results(DENSE, net("svd", 89.9)) | {"right": {"dense": bits(360, [0]), "svd": bits(360, [0, 1])}}
    assert "McNemar p = 1, on the same 360 images" in verdict(Comparison({"a": with_images})).sentences[1]
    assert "as of two samples" in judged(net("svd", 89.9)).sentences[1]


def test_networks_whose_names_are_cut_alike_have_rows_of_their_own():
    names = [f"{kernel}-macs0.25{way}-finetune-2" for kernel in ("svd", "cp") for way in ("", "-selector-uniform")]
    shown = Comparison({"a": results(DENSE, *(net(name, 89.0) for name in names))})
    figure = ranking(shown).figure
    assert sorted(trace.y[0] for trace in figure.data) == [1, 2, 3, 4, 5]
    heads = {head.split("<")[1] for head in figure.layout.yaxis.ticktext}
    assert heads == {"b>dense", "b>svd", "b>svd-selector-uniform", "b>cp", "b>cp-selector-uniform"}
    assert brief_names(["dense", "svd"]) == {}
    assert brief_names(["dense", "a-b", "a-b-a"]) == {}  # both would be a


def test_the_front_is_what_nothing_beats_in_cost_and_accuracy():
    points = [(0.5, 80.0), (0.5, 81.0), (0.6, 80.5), (0.7, 90.0), (1.0, 90.0)]
    assert pareto(points) == [(0.5, 81.0), (0.7, 90.0)]


def test_the_steps_are_those_of_the_ladder_or_before_and_after_tuning():
    ladder = [{"step": "svd macs=0.5", "top1": 85.0}, {"step": "finetune 3", "top1": 89.0, "latency_64": 1e-3}]
    assert [step["step"] for step in steps({**net("svd", 89.0), "ladder": ladder}, DENSE, 64)] == [
        *("dense", "svd macs=0.5", "finetune 3")
    ]
    tuned = steps(net("svd", 89.0, top1_before=85.0), DENSE, 64)
    assert [(step["step"], step["top1"]) for step in tuned] == [
        ("dense", 90.0),
        ("compressed", 85.0),
        ("fine-tuned", 89.0),
    ]
    assert [step["top1"] for step in steps(net("svd", 89.0), DENSE, 64)] == [90.0, 89.0]


def test_a_kernel_that_was_refitted_is_two_steps_and_steps_of_one_name_are_two_bars():
    tune = {"step": "finetune 1", "top1": 89.0, "latency_64": 1e-3}
    svd = {"step": "svd macs=0.5", "top1": 88.0, "unfitted_top1": 70.0, "latency_64": 1e-3}
    row = {**net("svd", 89.0), "ladder": [{"step": "dense", "top1": 90.0, "latency_64": 2e-3}, svd, tune, tune]}
    way = steps(row, DENSE, 64)
    assert [(step["step"], step["top1"], step["latency"]) for step in way] == [
        ("dense", 90.0, 2e-3),
        ("svd macs=0.5", 70.0, 1e-3),
        ("refit", 88.0, 1e-3),
        ("finetune 1", 89.0, 1e-3),
        ("finetune 1", 89.0, 1e-3),
    ]
    (fold,) = ladders(Comparison({"a": results(DENSE, row)}))
    points, times = (plot.figure.data[0] for plot in fold.blocks[0].blocks)
    assert list(points.y) == [-20.0, 18.0, 1.0, 0.0, 0.0]
    assert len(set(points.x)) == len(points.x)
    assert list(times.y) == pytest.approx([2.0, 1.0, 1.0, 1.0, 1.0])  # milliseconds
    assert "svd macs=0.5 -20.00; refit +18.00" in fold.blocks[0].blocks[0].alt


def test_times_of_a_busy_machine_are_left_out_of_the_steps_and_that_is_said():
    row = {**net("svd", 89.0, latency_64_noisy=True), "top1_before": 85.0}
    (fold,) = ladders(Comparison({"a": results(DENSE, row)}))
    (points,) = fold.blocks[0].blocks
    assert points.note.startswith("The machine had other work")


def test_of_several_runs_figures_have_letters_and_names_that_would_hide_each_other_are_left_out():
    crowd = [net(name, 89.9, 0.5) for name in ("svd", "cp", "ht", "tucker", "spatial", "auto")]
    shown = Comparison({"digits-lenet-1": results(DENSE, *crowd), "digits-lenet-2": results(DENSE, *crowd)})
    assert shown.letters == {"digits-lenet-1": "A", "digits-lenet-2": "B"}
    assert Comparison({"a": results(DENSE)}).letters == {}
    _, columns = fronts(shown)
    traces = [trace for trace in columns.blocks[0].figure.data if trace.name]
    assert {trace.name for trace in traces} == {
        f"{row['network']} {letter}" for row in (DENSE, *crowd) for letter in "AB"
    }
    assert 0 < sum(trace.mode == "markers" for trace in traces) < len(traces)


@pytest.mark.parametrize(
    ("model", "classes", "drawn"), [("resnet20", CIFAR10, 3), ("resnet56", CIFAR10, 0), ("resnet20", "ab", 0)]
)
def test_peers_stand_beside_the_same_network_on_the_same_images_alone(model, classes, drawn):
    shown = results(DENSE, net("svd", 89.5), model=model) | {"class_names": sorted(classes)}
    macs = fronts(Comparison({"a": shown}))[1].blocks[0]
    assert macs.title == "Multiply-accumulates"
    lines = [trace for trace in macs.figure.data if trace.mode == "lines+markers"]
    assert len(lines) == drawn
    for trace in lines:  # as far below our dense network as they report below theirs
        assert max(trace.y) <= 90.0
