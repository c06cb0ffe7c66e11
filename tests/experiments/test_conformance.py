"""The generated conformance table says what the parametrised test in test_layers.py holds."""

from pathlib import Path

import pytest

from experiments.conformance import cells as conformance_cells
from experiments.conformance.__main__ import main
from experiments.conformance.kinds import KINDS
from experiments.conformance.rows import ROWS
from layers import METHODS

DOCS = Path(__file__).parents[2] / "docs" / "results" / "conformance.md"


def cells(text):
    """(group, row, kind) -> what the tables say."""
    found = {}
    for line in (line for line in text.splitlines() if line.startswith("|")):
        first, *words = (part.strip() for part in line.split("|")[1:-1])
        if first in KINDS:
            group, names = first, words
        elif set(first) != {"-"}:
            found |= {(group, first, name): word for name, word in zip(names, words)}
    return found


def test_the_committed_table_is_the_generated_one(tmp_path, capsys):
    assert main(["--out", str(tmp_path / "deep" / "table.md")]) == 0
    new, committed = (cells(path.read_text()) for path in (tmp_path / "deep" / "table.md", DOCS))
    every = {(group, row, name) for group, kinds in KINDS.items() for row in ROWS for name in kinds}
    assert set(new) == set(committed) == every
    for key, word in new.items():
        # errors are of rounding and may differ between machines; who is refused, and why, may not
        assert word == committed[key] or float(committed[key]) <= 1e-10 >= float(word)
    assert "0 fail" in capsys.readouterr().out
    for text in DOCS.read_text().splitlines():
        if text.startswith("- "):
            assert text in (tmp_path / "deep" / "table.md").read_text()


def test_a_layer_that_is_wrong_is_seen(monkeypatch, tmp_path):
    method = METHODS["svd"]
    wrong = KINDS["factored"]["svd"]._replace(build=lambda layer: method.build(layer, method.candidates(layer)[0].spec))
    monkeypatch.setitem(KINDS["factored"], "svd", wrong)
    monkeypatch.setattr(conformance_cells, "ROWS", {"plain": {}})
    assert main(["--out", str(tmp_path / "table.md")]) == 1
    assert cells((tmp_path / "table.md").read_text())["factored", "plain", "svd"] == "FAILS"


def test_a_place_that_cannot_be_written_ends_with_2(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(conformance_cells, "ROWS", {"plain": {}})
        assert main(["--out", str(tmp_path / "file" / "table.md")]) == 2
    assert "error: out must be a file that can be written" in capsys.readouterr().err
