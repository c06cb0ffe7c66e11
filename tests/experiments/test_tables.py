"""Tables for readers: no number and no word is broken at any width, one unit a column, the same in Markdown."""

import io
import math
import re
import sys
from dataclasses import dataclass

import pytest
from hypothesis import given, strategies as st
from rich.console import Console

from experiments.lab.command import door
from experiments.lab.reporting.comparison import Comparison, cells
from experiments.lab.reporting.run_report import print_comparison
from experiments.lab.reporting.tables import Table, markdown, print_table
from experiments.lab.reporting.units import BYTES, COUNTS, SECONDS, digits, unit_of, with_unit


def printed(table, width, title=""):
    out = io.StringIO()
    print_table(table, Console(file=out, width=width), title)
    return out.getvalue()


def test_columns_that_do_not_fit_follow_below_and_nothing_is_broken():
    names = ["digits-mylab.net.make-2ffd8b07", "svd-half", "[red]thin[/]"]
    table = Table(["network", *(f"batch {n}" for n in range(12))], [[name, *["4050.25"] * 12] for name in names])
    for width in (40, 80, 200):
        text = printed(table, width)
        assert max(map(len, text.splitlines())) <= width
        assert all(name in text for name in names)
        assert text.count("4050.25") == 36
        assert all(f"batch {n}" in text for n in range(12))


def test_words_are_wrapped_between_words_and_a_name_too_long_has_a_line_of_its_own():
    table = Table(["work", "ms"], [["svd of 512x4608, rank 128\nagainst torch.linalg.svd, full", "55.69"]])
    text = printed(table, 30)
    assert max(map(len, text.splitlines())) <= 30
    assert "torch.linalg.svd," in text
    long = "folder-" + "x" * 100
    lines = printed(Table(["run", "state", "top-1, %"], [[long, "complete", "99.44"]], 2), 80).splitlines()
    assert lines[0] == long  # whole: it can be copied
    assert lines[1].strip() == "state complete, top-1, % 99.44"


def test_a_title_is_wrapped_between_words_and_a_name_in_it_stays_whole():
    name = "folder-" + "x" * 60
    title = f"{name}  --kernel svd auto --budget macs=0.5 --max-epochs 2 --latency-batches 1 4"
    lines = printed(Table(["run", "ms"], [["a", "1"]]), 50, title).splitlines()
    assert lines[0].strip() == name
    assert max(map(len, lines[1:])) <= 50
    assert " ".join(lines).split()[: len(title.split())] == title.split()


@given(st.lists(st.lists(st.from_regex(r"[a-z0-9.\-]{0,30}", fullmatch=True), min_size=4, max_size=4), max_size=5))
def test_every_cell_is_printed_whole_at_80_columns(rows):
    text = printed(Table(["network", "params, k", "MACs, k", "batch 64, ms"], rows), 80)
    assert max(map(len, text.splitlines()), default=0) <= 80
    assert all(cell in text for row in rows for cell in row)


NUMBERS = st.floats(allow_nan=True) | st.integers(0, 10**18) | st.none()  # what a broken measurement may give, too
FIGURES = ("top1", "top1_before", "loss", "params", "macs", "bytes", "latency_1", "latency_64", "peak_memory")
NAMES = st.from_regex(r"[a-z]{1,12}(-[a-z0-9]{1,8}){0,2}", fullmatch=True)


@st.composite
def runs(draw):
    """A run of networks of any name with any numbers, as results.json has it."""
    names = ["dense", *draw(st.lists(NAMES, min_size=1, max_size=3, unique=True))]
    rows = [{"network": name, "training_seconds": None} | {key: draw(NUMBERS) for key in FIGURES} for name in names]
    rows = [row | {"top1": draw(st.floats(0, 100)), "selector": draw(st.sampled_from(["", "loss"]))} for row in rows]
    config = {"model": "lenet", "dataset": "digits", "seed": 0}
    environment = {"threads": 2, "gpu": None, "torch": "2.15.0", "python": "3.11", "commit": "abc", "device": "cpu"}
    made = {"config": config, "environment": environment, "classes": 10}
    return made | {"rows": [row | {"refit": True} for row in rows], "latency_batches": [1, 64], "test_images": 360}


@given(runs())
def test_the_table_of_a_run_fits_80_columns_and_breaks_no_name_whatever_the_numbers(results):
    comparison, out = Comparison({"run": results}), io.StringIO()
    print_comparison(comparison, Console(file=out, width=80))
    text = out.getvalue()
    assert max(map(len, text.splitlines())) <= 80
    words = set(text.split())
    assert {row["network"] for row in results["rows"]} <= words
    for row in cells(comparison, "\n").rows:
        for number in (word for cell in row[2:] for word in cell.split()):
            assert number in words or f"{number}," in words, number  # a paragraph, where not one column fits


@dataclass(frozen=True)
class Nothing:
    """No options."""


def test_format_md_at_the_door_of_a_verb_prints_markdown(capsys):
    table = Table(["network", "ms"], [["svd", "4"]])
    show = door("show", Nothing, lambda options: print_table(table, Console(file=sys.stdout), "lenet on digits"))
    assert show(["--format", "md"]) == 0
    assert capsys.readouterr().out == f"lenet on digits\n\n{markdown(table)}\n"
    assert show([]) == 0  # nothing of it is left for the next
    assert "|" not in capsys.readouterr().out
    with pytest.raises(SystemExit):
        show(["--format", "pdf"])


def test_colours_only_on_a_terminal(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    table = Table(["network", "ms"], [["svd", "4"]], short=frozenset([0]))
    assert "\x1b" not in printed(table, 80, "title")
    out = io.StringIO()
    print_table(table, Console(file=out, width=80, force_terminal=True, color_system="standard"))
    assert "\x1b[" in out.getvalue()
    assert "4" in re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())


def test_a_unit_for_a_column_and_digits_by_hand():
    assert unit_of([61706, 30853, 0], COUNTS).sign == "k"
    assert unit_of([4.05, 0.2], SECONDS).sign == "s"
    assert unit_of([0, 0], SECONDS).sign == "s"
    assert unit_of([math.nan, 2e6], BYTES).sign == "MB"
    assert [digits(x) for x in (4050, 0.00305, 99.996, 1e6, -2.5, 0, math.inf)] == [
        *("4050", "0.00305", "100", "1000000", "-2.5", "0", "inf")
    ]
    assert with_unit(4.05e-3, SECONDS) == "4.05 ms"


def test_markdown_by_hand():
    assert markdown(Table(["a", "b"], [["x|y", "1\n50%"]])) == "| a | b |\n| --- | ---: |\n| x\\|y | 1 50% |\n"


@pytest.mark.parametrize("width", [20, 80])
def test_an_empty_table_is_its_header(width):
    assert "network" in printed(Table(["network", "top-1, %"], []), width)
