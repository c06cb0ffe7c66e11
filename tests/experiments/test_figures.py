"""Figures are made of records alone: the same bytes each time, one look a kernel, a sentence where one is missing."""

import json
import re
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest
from records import record_for, without

from experiments.figures import draw, manifest
from experiments.figures.__main__ import main
from experiments.figures.layers import ranks_of
from experiments.lab.reporting.canvas import ENDINGS, drawn
from experiments.lab.reporting.style import DASHES, LOOKS, kernel_style, look, styles
from experiments.lab.results import result

ROOT = Path(__file__).parents[2]
KNOWN = manifest.figures()
FIRST = KNOWN["digits-macs"]
NAMES = sorted({of for figure in KNOWN.values() for of in figure.of})


@pytest.fixture(scope="module", autouse=True)
def results(tmp_path_factory):
    """Made-up records of every experiment that figures ask for, in the place of thesis/results."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("results")
        patch.setattr(result, "RESULTS", folder)
        for name in NAMES:
            result.write(record_for(KNOWN.values(), name))
        yield folder


@pytest.mark.parametrize("name", KNOWN)
def test_every_figure_can_be_drawn_and_says_of_which_run_it_is(name):
    figure = draw.draw(KNOWN[name])
    said = figure._supxlabel.get_text()
    assert all(of in said for of in KNOWN[name].of)
    assert figure.axes


@pytest.mark.slow  # beside the thesis of another process, in which all figures are
def test_the_same_figure_is_the_same_bytes_in_every_process(results, tmp_path):
    code = (
        "import pathlib, sys\nfrom experiments.lab.results import result\nresult.RESULTS = pathlib.Path(sys.argv[1])\n"
        "from experiments.figures.__main__ import main\nsys.exit(main([sys.argv[2], '--out', sys.argv[3]]))"
    )
    command = [sys.executable, "-c", code, str(results), FIRST.name, str(tmp_path)]
    places = {"MPLCONFIGDIR": matplotlib.get_cachedir()}  # with the list of fonts, which takes seconds to make
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, env={"PYTHONHASHSEED": "7"} | places)
    for ending in ENDINGS:
        assert (tmp_path / f"{FIRST.name}.{ending}").read_bytes() == drawn(draw.draw(FIRST), ending)


def test_settings_of_the_user_change_nothing():
    before = drawn(draw.draw(FIRST), "svg")
    with matplotlib.rc_context({"font.size": 20, "svg.hashsalt": None, "axes.facecolor": "yellow"}):
        assert drawn(draw.draw(FIRST), "svg") == before
    assert b"<dc:date>" not in before


def test_every_kernel_has_one_colour_and_one_marker_and_is_told_in_grey():
    kernels = {name: (*LOOKS[name], str(DASHES.get(name))) for name in LOOKS if name != "search"}
    colours, markers, symbols, _ = zip(*kernels.values())
    assert len(set(colours)) == len(set(markers)) == len(set(symbols)) == len(kernels)
    mixed = ["auto", "svd", "spatial", "tucker", "ht", "cp"]
    assert len({str(DASHES.get(name)) for name in mixed}) >= 5  # of lines; auto is dark, svd is light
    assert kernel_style("channels-0.3+svd+finetune") == kernel_style("svd")
    assert [style["color"] for style in styles(mixed)] == [look(name).colour for name in mixed]
    assert len({str(style) for style in styles(["auto", "auto-selector=energy"])}) == 2


def test_no_figure_brings_colours_of_its_own():
    for path in (ROOT / "experiments" / "figures").glob("*.py"):
        assert not re.search(r"#[0-9A-Fa-f]{6}|rcParams|pyplot\.figure", path.read_text(encoding="utf-8")), path.name


def test_what_has_no_record_is_skipped_aloud_and_refused_by_name(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(result, "RESULTS", tmp_path / "none")
    assert main(["--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    for figure in KNOWN.values():
        assert f"skipped {figure.name}: no results, python -m experiments.reproduce {' '.join(figure.of)}" in said
    assert main([FIRST.name, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert f"{FIRST.of[0]}.json" in said
    assert f"python -m experiments.reproduce {FIRST.of[0]}" in said
    assert not list((tmp_path / "out").glob("*"))


def test_a_record_without_a_number_leaves_its_figure_out_and_says_which(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(result, "RESULTS", tmp_path)
    record = record_for([FIRST], FIRST.of[0])
    result.write(without(record, FIRST.panels[0].rows[0]) if not record.series else replace(record, series={}))
    made, left = draw.all_figures([FIRST])
    assert not made
    assert f"{FIRST.of[0]}.json: " in left[FIRST.name]
    assert main(["--out", str(tmp_path / "out"), "--endings", "svg"]) == 0
    assert f"skipped {FIRST.name}: {left[FIRST.name]}" in capsys.readouterr().out


def test_ranks_are_read_of_any_spec():
    assert [ranks_of(spec) for spec in ({"rank": 3}, {"ranks": [4, 2]}, {"ranks": {"0": 5}}, {}, {"keep": 0.5})] == [
        [3],
        [4, 2],
        [5],
        [],
        [],
    ]


def test_torn_and_foreign_records_are_named_with_their_field(results, tmp_path, monkeypatch, capsys):
    name = FIRST.of[0]
    whole = (results / f"{name}.json").read_text(encoding="utf-8")
    monkeypatch.setattr(result, "RESULTS", tmp_path)
    (tmp_path / f"{name}.json").write_text(whole[: len(whole) // 2], encoding="utf-8")
    assert main([FIRST.name, "--out", str(tmp_path / "out")]) == 2
    assert f"{name}.json must be whole" in capsys.readouterr().err
    (tmp_path / f"{name}.json").write_text(json.dumps(json.loads(whole) | {"schema": 9}), encoding="utf-8")
    assert main([FIRST.name, "--out", str(tmp_path / "out")]) == 2
    assert "schema" in capsys.readouterr().err
    row = FIRST.panels[0].rows[0]
    result.write(without(record_for(KNOWN.values(), name), row))
    assert main([FIRST.name, "--out", str(tmp_path / "out")]) == 2
    assert f"{name}.json: numbers must be one of" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_misspelt_name_is_told_the_nearest(capsys, tmp_path):
    assert main([f"{FIRST.name}x", "--out", str(tmp_path)]) == 2
    assert f"must be '{FIRST.name}'" in capsys.readouterr().err
    broken = tmp_path / "figures.toml"
    broken.write_text('[one]\nkind = "costs"\nalt = "a"\npanel = []\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"figures.toml: one must be 'panels'"):
        manifest.figures(broken)


def test_the_manifests_and_the_text_name_the_same_figures():
    entries = tomllib.loads((ROOT / "thesis" / "runs.toml").read_text(encoding="utf-8"))
    assert set(NAMES) <= set(entries)
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "thesis" / "chapters").glob("*.typ"))
    assert set(re.findall(r'#drawn\("([^"]+)"', text)) <= set(KNOWN)
    assert not [name for name in KNOWN if f'"{name}"' not in text]
