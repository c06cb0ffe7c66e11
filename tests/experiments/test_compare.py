"""`compare`: figures and ratios by hand, the same cells in every format, every refusal in a sentence."""

import csv
import re
from html.parser import HTMLParser

import pytest
from refusals import refused
from run_folders import results, row, write_runs

from experiments.compare.__main__ import main as compare
from experiments.compare.formats import to_latex, to_markdown
from experiments.lab.reporting.comparison import Comparison, cells, frame
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
    header, lines = cells(Comparison({"a": record.read_results(runs / "a")}), "; ")
    assert header[2:] == [
        *("top-1 %", "top-5 %", "loss", "params", "MACs", "bytes", "batch 1", "batch 64", "peak memory", "training")
    ]
    assert lines == [
        ["a", "dense", "99.00", "100.00", "0.050", "60 k", "400 k", "240 k", "200 µs", "3 ms", "3 M", "8 s"],
        [
            *("a", "svd", "98.50; -0.50", "100.00; +0.00", "0.050; +0.00", "30 k; 50%", "200 k; 50%", "120 k; 50%"),
            *("100 µs; 0.50x", "1.5 ms; 0.50x", "1.5 M; 50%", "4 s; 0.50x"),
        ],
    ]


def test_a_run_without_training_has_no_ratio_of_training_times():
    shown = Comparison({"a": results(row("dense", training_seconds=0), row("svd"))})
    assert cells(shown)[1][1][-1] == "8 s"
    assert frame(shown)["training_seconds / dense"].isna().all()


def test_batch_sizes_that_only_some_runs_have(runs):
    more = results(row("dense", latency_8=1e-3)) | {"latency_batches": [1, 8, 64]}
    header, lines = cells(Comparison({"a": record.read_results(runs / "a"), "c": more}))
    column = header.index("batch 8")
    assert [line[column] for line in lines] == ["", "", "1 ms"]


class Tables(HTMLParser):
    """The cells of the only table."""

    def __init__(self):
        super().__init__()
        self.rows, self.inside = [], False

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        self.inside = tag in ("td", "th") or (self.inside and tag == "br")
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
    header, lines = cells(Comparison({name: record.read_results(runs / name) for name in "ab"}))

    assert [line["network"] for line in csv.DictReader(plain.splitlines())] == ["dense", "svd", "dense", "dct_50%"]
    assert float(next(csv.DictReader(plain.splitlines()))["latency_64"]) == 3e-3
    table = [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown.splitlines() if line.startswith("|")]
    assert [table[0], *table[2:]] == [header, *lines]
    body = latex.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    unescaped = [[re.sub(r"\\([%_])", r"\1", cell).strip() for cell in line[:-3].split(" & ")] for line in body]
    assert unescaped == [[cell.replace("µ", r"\textmu{}") for cell in line] for line in lines]
    assert not re.search(r"(?<!\\)[%_]", latex.split(r"\toprule")[1])
    parser = Tables()
    parser.feed(page[page.index("<table") :])
    assert parser.rows[0] == header
    assert [[cell.replace(" ", "") for cell in line] for line in parser.rows[1:]] == [
        [cell.replace(" ", "") for cell in line] for line in lines
    ]
    assert "Plotly.newPlot(" in page
    assert "<script src=" not in page


def test_times_from_a_busy_machine_are_pointed_out(runs):
    busy = results(row("dense", latency_64_noisy=True))
    assert "a: timed on a busy machine at batch 64, take with care" in to_markdown(Comparison({"a": busy}))
    assert "busy" not in to_latex(Comparison({"a": results(row("dense"))}))


REFUSALS = {
    "nowhere": r"run must be a run folder, or a name that python -m experiments.list .* shows, got 'nowhere'",
    "a unfinished": r"run must be complete: .*unfinished has no results.json yet, the same command again finishes it",
    "torn": "run must have a whole results.json, got .*torn/results.json",
    "old": "run must be of layout version 3: repeat it with --force, got '.*old/results.json of None'",
    "odd": "run must be a whole one: repeat it with --force",
    "study": "run must be a folder that experiments.run wrote, not another verb, got '.*study'",
    "other": "run must be a run folder, with config.json and results.json",
    "a --out RUNS/table.xls": "out must be a file that ends in .csv, .md, .tex, .html, got '.*table.xls'",
    "a --out RUNS/x/table.md": "out must be in a folder that exists",
    "a --dense nowhere": "run must be a run folder",
}


def test_results_of_the_layout_before_are_read_as_those_of_today(runs):
    today = record.read_results(runs / "a")
    rows = [{"kernel" if key == "network" else key: value for key, value in line.items()} for line in today["rows"]]
    older = {**today, "version": 2, "rows": rows}
    record.write_json(runs / "a" / "results.json", older)
    assert record.read_results(runs / "a") == today


@pytest.mark.parametrize("arguments", REFUSALS)
def test_bad_input_is_refused_in_one_sentence(arguments, runs, capsys):
    (runs / "other").mkdir()
    (runs / "study").mkdir()
    record.write_json(runs / "study" / "results.json", {"config": {"model": "lenet"}, "layers": []})
    given = [*arguments.replace("RUNS", str(runs)).split(), "--runs", str(runs)]
    error = refused(compare, given, runs, capsys)
    assert re.search(REFUSALS[arguments], error), error
