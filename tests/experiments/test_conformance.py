"""The generated conformance table; test_layers.py holds every cell of the committed one."""

from conformance_table import COMMITTED, cells

from experiments.conformance import cells as conformance_cells
from experiments.conformance.__main__ import main
from experiments.conformance.kinds import KINDS
from experiments.conformance.rows import ROWS
from layers import METHODS


def test_the_committed_table_is_the_generated_one(tmp_path, capsys, monkeypatch):
    """Its rows, columns and count; of its cells one row for every reason and one without."""
    committed = cells(COMMITTED.read_text())
    assert set(committed) == {(group, row, name) for group, kinds in KINDS.items() for row in ROWS for name in kinds}
    refused = sum(not word.startswith("1e-") for word in committed.values())
    assert f"{len(committed) - refused} cells pass, {refused} are refused, 0 fail." in COMMITTED.read_text()
    rows = ("plain", "depthwise", "1 x 1", "1 x 3")
    reasons = {word for word in committed.values() if not word.startswith("1e-")}
    assert reasons <= {committed["factored", row, name] for row in rows for name in KINDS["factored"]}
    monkeypatch.setattr(conformance_cells, "ROWS", dict.fromkeys(rows))
    assert main(["--out", str(tmp_path / "deep" / "table.md")]) == 0
    assert "0 fail" in capsys.readouterr().out
    new = cells((tmp_path / "deep" / "table.md").read_text())
    assert new.keys() == {key for key in committed if key[1] in rows}
    for key, word in new.items():
        # errors are of rounding and may differ between machines; who is refused, and why, may not
        assert word == committed[key] or float(committed[key]) <= 1e-10 >= float(word)


def test_a_layer_that_is_wrong_is_seen(monkeypatch, tmp_path):
    method = METHODS["svd"]
    wrong = KINDS["factored"]["svd"]._replace(build=lambda layer: method.build(layer, method.candidates(layer)[0].spec))
    monkeypatch.setitem(KINDS["factored"], "svd", wrong)
    monkeypatch.setattr(conformance_cells, "ROWS", {"plain": {}})
    assert main(["--out", str(tmp_path / "table.md")]) == 1
    assert cells((tmp_path / "table.md").read_text())["factored", "plain", "svd"] == "FAILS"
