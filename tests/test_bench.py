"""The speed tables: rows are measured and judged right, and every row's two sides do the same work."""

import csv

import pytest
import torch

from experiments.bench import main
from experiments.benchmarks import TABLES, Later, Measured, Row, measure, networks, show
from experiments.benchmarks.layers import conv_cases, linear_cases
from experiments.benchmarks.ranks import evbmf_cases, ht_cases, svd_cases
from experiments.benchmarks.tensors import cp_cases, tucker_cases


def work(count):
    return lambda: sum(range(count))


def test_ratios_and_verdict(tmp_path, capsys):
    fast = Row("sum", "a longer sum", work(1_000), work(200_000), 2.0, lambda total: total / 1e6)
    (measured,) = measure([fast], threads=1, seconds=1)
    assert measured.ratio > 2
    assert (measured.our_error, measured.their_error) == (0.4995, 19999.9)
    assert show([measured], 1, tmp_path / "table.csv")
    assert not show([measured._replace(at_least=measured.ratio + 1)], 1, None)
    assert "longer" in capsys.readouterr().out
    with (tmp_path / "table.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["ratio"]) == measured.ratio


def test_seconds_that_are_asked_of_ours_alone():
    row = Row("sum", "a longer sum", work(1_000), work(200_000), 1.0)
    (free,) = measure([row], threads=1, seconds=1)
    assert free.reached
    assert free.asked == "1.00"
    (late,) = measure([row._replace(at_most=1e-9)], threads=1, seconds=1)
    assert not late.reached
    assert late.asked == "1.00, 1e-09 s"


def test_a_row_is_made_when_its_turn_comes():
    made = []

    def make():
        made.append(torch.get_num_threads())
        return Row("sum of 9", "itself", work(9), work(9), 0.0)

    later = Later("sum", make)
    assert made == []
    (measured,) = measure([later], threads=1, seconds=0)
    assert made == [1]  # with the threads of the measurement, as a session of onnxruntime must be
    assert measured.work == "sum of 9"


def test_nothing_is_built_before_its_turn_and_rows_keep_their_names(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("built too early")

    monkeypatch.setattr(networks, "make_plan", forbidden)
    monkeypatch.setattr(networks.torchvision.models, "get_model", forbidden)
    names = [case.work for make in TABLES["networks"] for case in make()]
    assert "vgg16, tucker, onnxruntime" in names
    assert len(set(names)) == len(names)
    for cases in (linear_cases(24, 16), conv_cases(72, 4)):
        for later in cases:
            row = later.make()
            assert row.work.startswith(later.work)
            row.ours()
            row.theirs()


def test_the_table_for_the_docs(tmp_path):
    slow = Measured("svd of 2x2", "torch", 2e-3, 1e-3, 0.5, 1.0, None, None)
    assert not show([slow, slow._replace(ratio=1.25)], 2, tmp_path / "docs" / "speed.md")
    head, _, first, second, _, caption = (tmp_path / "docs" / "speed.md").read_text().splitlines()
    assert head == "| work | against | ours ms | theirs ms | ratio | asked |"
    assert first == "| svd of 2x2 | torch | 2 | 1 | **0.50** | 1.00 |"
    assert second.endswith("| 1.25 | 1.00 |")
    assert caption.startswith("Medians, ours and theirs in turn; torch ")
    assert "2 threads" in caption


@pytest.mark.parametrize(
    "cases",
    [svd_cases, evbmf_cases, ht_cases, lambda: tucker_cases(16, 8), lambda: cp_cases(16, 8, 5)],
    ids=["svd", "evbmf", "ht", "tucker", "cp"],
)
def test_our_error_is_not_above_theirs(cases):
    pytest.importorskip("tensorly")
    for row in cases():
        assert row.error(row.ours()) <= row.error(row.theirs()) + 0.02  # small random tensors have many minima


def test_every_table_is_made_of_functions_that_make_rows():
    assert set(TABLES) == {"kernels", "layers", "networks", "train"}
    for make in (make for table in TABLES.values() for make in table):
        assert make.__doc__


@pytest.mark.parametrize(
    ("arguments", "words"), [(["kernels", "--only", "fft of"], "only must be part of"), (["x"], "")]
)
def test_bad_input_ends_with_2(arguments, words, capsys):
    pytest.importorskip("tensorly")
    pytest.importorskip("torch_dct")
    try:
        status = main(arguments)
    except SystemExit as end:
        status = end.code
    assert status == 2
    assert words in capsys.readouterr().err
