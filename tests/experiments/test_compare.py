"""`compare`: figures and ratios by hand, the same cells in every format, every refusal in a sentence."""

import csv
import re
from html.parser import HTMLParser

import pytest
from run_folders import results, row, write_runs

from experiments.compare.__main__ import main as compare
from experiments.compare.formats import to_latex, to_markdown
from experiments.lab.reporting.comparison import Comparison, cells, frame
from experiments.lab.reporting.page.front import fronts
from experiments.lab.runs import record


@pytest.fixture
def runs(tmp_path):
    return write_runs(tmp_path)


def test_ratios_are_against_the_dense_network_of_the_same_run_or_of_the_one_asked_for(runs):
    both = {name: record.read_results(runs / name) for name in "ab"}
    own, shared = frame(Comparison(both)), frame(Comparison(both, "a"))
    for key in ("params", "macs", "bytes", "peak_memory", "latency_1", "latency_64", "training_seconds"):
        assert list(own[f"{key} / dense"]) == pytest.approx([1, 0.5, 1, 0.125], rel=1e-3)
        assert list(shared[f"{key} / dense"]) == pytest.approx([1, 0.5, 2, 0.25], rel=1e-3)
    assert list(own["top1"]) == [99.0, 98.5, 100.0, 98.25]


def test_cells_by_hand(runs):
    header, lines, left, _ = cells(Comparison({"a": record.read_results(runs / "a")}), "; ")
    assert header == [
        *("network", "top-1, %", "top-5, %", "loss", "params, k", "MACs, k", "size, kB", "batch 1, µs", "batch 64, ms"),
        *("peak memory, MB", "training, s"),
    ]
    assert left == 1
    assert lines == [
        ["dense", "99.00", "100.00", "0.050", "60", "400", "240", "200", "3", "3", "8"],
        [
            *("svd", "98.50; -0.50", "100.00; +0.00", "0.050; +0.000", "30; 50%", "200; 50%", "120; 50%"),
            *("100; 0.50x", "1.5; 0.50x", "1.5; 50%", "4; 0.50x"),
        ],
    ]


def test_a_column_has_one_unit_for_all_runs():
    small, large = results(row("dense")), results(row("dense", 1000.0))
    header, lines, *_ = cells(Comparison({"a": small, "b": large}))
    assert header[:2] == ["run", "network"]
    params = header.index("params, M")
    assert [line[params] for line in lines] == ["0.06", "60"]


def test_a_run_without_training_has_no_ratio_of_training_times():
    shown = Comparison({"a": results(row("dense", training_seconds=0), row("svd"))})
    assert cells(shown).rows[1][-1] == "8"
    assert frame(shown)["training_seconds / dense"].isna().all()
    none = cells(Comparison({"a": results(row("dense", training_seconds=0))}))
    assert (none.header[-1], none.rows[0][-1]) == ("training, s", "0")


def test_the_first_five_are_shown_of_many_classes():
    few, many, old = (results(row("dense")) | more for more in ({"classes": 10}, {"classes": 100}, {}))
    assert "top-5, %" not in cells(Comparison({"a": few})).header
    for shown in ({"a": many}, {"a": few, "b": many}, {"a": old}):
        assert "top-5, %" in cells(Comparison(shown)).header


def test_batch_sizes_that_only_some_runs_have(runs):
    more = results(row("dense", latency_8=1e-3)) | {"latency_batches": [1, 8, 64]}
    header, lines, *_ = cells(Comparison({"a": record.read_results(runs / "a"), "c": more}))
    column = header.index("batch 8, ms")
    assert [line[column] for line in lines] == ["", "", "1"]


class Tables(HTMLParser):
    """The cells of a table."""

    def __init__(self):
        super().__init__()
        self.rows, self.inside = [], False

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        self.inside = tag in ("td", "th") or (self.inside and tag not in ("tr", "thead", "tbody"))
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def test_every_format_has_the_same_cells(runs, capsys):
    files = [runs / f"table{suffix}" for suffix in (".csv", ".md", ".tex", ".html")]
    assert compare(["a", str(runs / "b"), "--runs", str(runs), "--out", *map(str, files)]) == 0
    printed = capsys.readouterr().out
    for words in ("98.50", "-0.50", "50%", "0.50x", "dct_50%", "of its own run"):
        assert words in printed
    assert max(map(len, printed.splitlines())) <= 80
    plain, markdown, latex, page = (path.read_text(encoding="utf-8") for path in files)
    header, lines, *_ = cells(Comparison({name: record.read_results(runs / name) for name in "ab"}))

    assert [line["network"] for line in csv.DictReader(plain.splitlines())] == ["dense", "svd", "dense", "dct_50%"]
    assert float(next(csv.DictReader(plain.splitlines()))["latency_64"]) == 3e-3
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown.splitlines() if line.startswith("|")]
    assert [table[0], *table[2:]] == [header, *lines]
    for text in (markdown, latex, page):
        assert "python -m experiments.run --model resnet20" in text
        assert "commit abc" in text
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    unescaped = [[re.sub(r"\\([%_])", r"\1", cell).strip() for cell in line[:-3].split(" & ")] for line in body]
    names = [["a"], [""], ["b"], [""]]  # a run's name stands once
    assert unescaped == [[*name, *line[1:]] for name, line in zip(names, lines)]
    assert not re.search(r"(?<!\\)[%_]", latex.split(r"\toprule")[1])
    assert r"\label{tab:a-b}" in latex
    parser = Tables()
    parser.feed(page[page.index("<table") : page.index("</table>")])
    assert parser.rows[0] == header
    assert [[cell.replace(" ", "") for cell in line] for line in parser.rows[1:]] == [
        [cell.replace(" ", "") for cell in line] for line in lines
    ]
    assert "Plotly.newPlot(" in page
    assert "<script src=" not in page


def test_a_table_of_one_run_in_latex_leaves_its_name_to_the_label():
    latex = to_latex(Comparison({"digits-lenet-1": results(row("dense"), row("svd", 1e-3))}))
    assert r"\begin{tabular}{lrrrrrrrrrr}" in latex
    assert r"\label{tab:digits-lenet-1}" in latex
    assert r"batch 1, \textmu{}s" in latex
    chosen = to_latex(Comparison({"a": results(row("dense"), row("svd", 0.5, selector="loss", refit=True))}))
    assert r"\begin{tabular}{llrrrrrrrrrr}" in chosen  # one more column of words: by what the ranks were chosen


def test_times_from_a_busy_machine_are_pointed_out_wherever_they_stand():
    slow = row("svd", 0.5, latency_64=2.4e-3, latency_64_noisy=True)
    shown = Comparison({"a": results(row("dense"), slow)})
    header, lines, *_ = cells(shown)
    batch = header.index("batch 64, ms")
    assert [line[batch] for line in lines] == ["3", "2.4 busy"]
    assert frame(shown)["latency_64 / dense"].isna().tolist() == [False, True]
    assert "a: timed on a busy machine at batch 64, take with care" in to_markdown(shown)
    titles = [plot.title for plot in fronts(shown)[1].blocks]
    assert titles == ["Multiply-accumulates", "Parameters", "Size"]  # no picture of the time, of which one is left
    busy = Comparison({"a": results(row("dense", latency_64_noisy=True), row("svd", 0.5))})
    assert [line[batch] for line in cells(busy).rows] == ["3 busy", "1.5"]  # no ratio to what was disturbed
    assert "busy" not in to_latex(Comparison({"a": results(row("dense"))}))


def test_the_caption_says_in_what_the_runs_differ(runs, capsys):
    for name, changes in (("a", {"seed": 0}), ("b", {"seed": 1, "budget": "macs=0.3"})):
        path = runs / name / "results.json"
        record.write_json(path, record.read_results(runs / name) | {"config": results(**changes)["config"]})
    assert compare(["a", "b", "--runs", str(runs)]) == 0
    titles = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("a", "b"))]
    assert titles[0] == "a"
    assert titles[1] == "b  --budget macs=0.3 --seed 1"


def test_results_of_the_layout_before_are_read_as_those_of_today(runs):
    today = record.read_results(runs / "a")
    rows = [{"kernel" if key == "network" else key: value for key, value in line.items()} for line in today["rows"]]
    older = {**today, "version": 2, "rows": rows}
    record.write_json(runs / "a" / "results.json", older)
    assert record.read_results(runs / "a") == today


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 4}, r"layout version 3 or before: read it with newer code"),
        ({"version": 1}, r"layout version 3: repeat it with --force"),
        ({"version": "four"}, r"layout version 3: repeat it with --force"),
        ({"config": None}, r"a whole one: repeat it with --force"),
        ({"environment": None}, r"a whole one: repeat it with --force"),
    ],
)
def test_results_of_newer_code_and_results_that_lack_something_are_refused_in_a_sentence(runs, change, words, capsys):
    whole = {**record.read_results(runs / "a"), **change}
    record.write_json(runs / "a" / "results.json", {key: value for key, value in whole.items() if value is not None})
    assert compare(["a", "--runs", str(runs)]) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(rf"error: run must be .*{words}, got .*\n", said), said
