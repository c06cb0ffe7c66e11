"""A number of the thesis is one of its record, a comparison holds in it, and nothing measured is typed."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest
import typst

from experiments.lab.results import result
from experiments.lab.results.manifest import manifest
from experiments.lab.results.result import Number, Result

THESIS = Path(__file__).parents[1] / "thesis"
CHAPTERS = sorted((THESIS / "chapters").glob("*.typ"))
PAIR = '("toy", "auto", "0.5", "top1"), "{}", ("toy", "svd", "0.5", "top1")'


def made(**changed):
    numbers = {
        "auto": {"0.5": {"top1": Number.of([88.0, 88.2, 88.4]), "macs": Number.of([20275520.0] * 3)}},
        "svd": {"0.5": {"top1": Number.of([84.0, 84.1, 83.9])}},
        "cp": {"0.5": {"top1": Number.of([88.1, 88.3, 88.3])}},
    }
    usual = {"name": "toy", "command": ("run",), "purpose": "A toy.", "commit": "abc", "device": "CPU", "threads": 1}
    usual |= {"versions": {"torch": "2"}, "seeds": (0, 1, 2), "date": "2026-01-01", "seconds": 1.0, "numbers": numbers}
    return Result(**usual | changed)


@pytest.fixture
def text(tmp_path, monkeypatch):
    """A text of claims of one record: `text(body)` compiles it, and says what its claims are."""
    shutil.copy(THESIS / "claims.typ", tmp_path)
    shutil.copy(THESIS / "metrics.toml", tmp_path)
    (tmp_path / "runs.toml").write_text('[toy]\npurpose = "A toy."\ncommands = ["run"]\n[other]\n', encoding="utf-8")
    monkeypatch.setattr(result, "RESULTS", tmp_path / "results")
    result.write(made())

    def compiled(body):
        source = tmp_path / "text.typ"
        source.write_text(f'#import "claims.typ": *\n= Toy <run-toy>\n{body}\n', encoding="utf-8")
        return json.loads(typst.query(str(source), "<claim>", field="value"))

    return compiled


def test_a_claim_prints_the_mean_and_the_spread_of_the_record_with_its_unit_and_says_whose_it_is(text):
    (claim,) = text('#claim("toy", "auto", "0.5", "top1")')
    assert claim == {
        "kind": "claim",
        "of": [["toy", "auto", "0.5", "top1"]],
        "text": "88.20\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}0.20\N{NO-BREAK SPACE}%",
    }
    (count,) = text('#claim("toy", "auto", "0.5", "macs", std: false)')
    assert count["text"] == "20\N{THIN SPACE}275\N{THIN SPACE}520"


def test_differences_and_ratios_are_of_two_numbers_of_the_record(text):
    pair = PAIR.replace(' "{}",', "")
    found = text(f"#difference({pair}) #difference({pair}, signed: true) #ratio({pair}, percent: true)")
    assert [claim["text"] for claim in found] == ["4.20", "+4.20", "105.0\N{NO-BREAK SPACE}%"]


@pytest.mark.parametrize(
    ("condition", "true"),
    {">": True, "<": False, ">=": True, "<=": False, ">>": True, "<<": False, "~": False}.items(),
)
def test_a_comparison_compiles_only_where_the_record_says_so(text, condition, true):
    body = f"#holds({PAIR.format(condition)})[auto is better than SVD]"
    if true:
        assert text(body)[0]["kind"] == "holds"
        return
    with pytest.raises(RuntimeError, match="holds must be true"):
        text(body)


def test_within_chance_is_two_standard_errors_over_seeds(text):
    near = PAIR.format("~").replace("svd", "cp")
    assert text(f"#holds({near})[as good as CP]")
    with pytest.raises(RuntimeError, match="holds must be true"):
        text(f"#holds({near.replace('~', '<<')})[worse than CP]")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('#claim("toy", "ht", "0.5", "top1")', r'toy.json: numbers must have .*"ht'),
        ('#claim("toy", "auto", "0.4", "top1")', r'toy.json: numbers.auto must have .*"0.4'),
        ('#claim("toy", "auto", "0.5", "loss")', r'toy.json: numbers.auto.0.5 must have .*"loss'),
        ('#claim("other", "auto", "0.5", "top1")', "results/other.json"),
        ('#claim("nothing", "auto", "0.5", "top1")', "entry of runs.toml"),
        (f"#holds({PAIR.format('=')})[the same]", "condition of holds must be one of"),
    ],
)
def test_a_claim_without_a_record_ends_the_compilation_with_file_and_field(text, body, words):
    with pytest.raises(RuntimeError, match=words):
        text(body)


def claims():
    spec = importlib.util.spec_from_file_location("build_thesis", THESIS / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    found = typst.query(str(build.SOURCE), "<claim>", field="value", sys_inputs=build.inputs(build.SOURCE))
    return json.loads(found)


def test_every_claim_of_the_text_has_a_whole_record_and_an_entry_of_the_manifest():
    entries = manifest()
    for claim in claims():
        for name, row, level, metric in claim["of"]:
            assert name in entries
            result.read(name).number(row, level, metric)


def prose(path):
    """What a reader reads of a chapter: no formula, no code, no comment, and none of the words of a function's call."""
    text = re.sub(r"//[^\n]*|```.*?```|`[^`]*`|\$[^$]*\$", " ", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.sub(r'"[^"\n]*"|\d+(?:\.\d+)?(?:pt|em|mm|cm|fr)\b', " ", text)


MEASURED = re.compile(
    r"\d+(?:\.\d+)?\s?(?:%|percent|per cent|points|seconds|minutes|ms\b|[kM]B\b|times (?:faster|smaller|as|fewer|more))"
    r"|\d{1,3}(?:,\d{3})+|\d+\.\d+"
)
CONSTANTS: dict[str, dict[str, str]] = {}  # chapter -> number of mathematics -> why nobody measures it


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_nothing_measured_is_typed(path):
    typed = [words for words in MEASURED.findall(prose(path)) if words not in CONSTANTS.get(path.stem, ())]
    assert not typed, f"{path.name}: {typed}: use #claim"


COMPARED = re.compile(
    r"(?:better|worse|faster|slower|more accurate|less accurate) than|within chance|outperform\w*|\bbeats?\b"
)
DERIVED: dict[str, dict[str, str]] = {}  # chapter -> comparison -> the derivation from which it follows


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_comparison_of_what_was_measured_has_a_condition(path):
    free = re.sub(r"#holds\(.*?\)\[.*?\]", "", prose(path), flags=re.DOTALL)
    typed = [words for words in COMPARED.findall(free) if words not in DERIVED.get(path.stem, ())]
    assert not typed, f"{path.name}: {typed}: use #holds"


@pytest.mark.parametrize(
    "words",
    ["keeps 87.2 of it", "at 50 % of the MACs", "1,094,288 bytes", "3 times faster", "in 20 seconds", "2 points"],
)
def test_a_typed_measurement_is_noticed(words, tmp_path):
    (tmp_path / "a.typ").write_text(f"Of $0.5 n$ `0.5` and 3 kernels, it {words}.\n", encoding="utf-8")
    assert len(MEASURED.findall(prose(tmp_path / "a.typ"))) == 1


def test_a_typed_comparison_is_noticed(tmp_path):
    (tmp_path / "a.typ").write_text("CP is better than SVD, #holds(a, f(b))[Tucker worse than CP].", encoding="utf-8")
    assert COMPARED.findall(re.sub(r"#holds\(.*?\)\[.*?\]", "", prose(tmp_path / "a.typ"))) == ["better than"]
