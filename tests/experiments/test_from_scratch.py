"""`--frequency`: networks of frequency layers learn from scratch, under names and with a page of their own."""

import json

import pytest
from quick_runs import results

from experiments.__main__ import main as verbs
from experiments.compare.__main__ import main as compare
from experiments.lab.config import Compression, Config
from experiments.lab.models.lenet import LeNet5
from experiments.run.__main__ import main
from layers import load_frequency_layers


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    """The folder of a short run with --frequency."""
    out = tmp_path_factory.mktemp("runs")
    arguments = "--frequency --layers fc --kernel dct shannon --model lenet5 --max-epochs 6 --lr 1e-2 --rep --no-track"
    assert main([*arguments.split(), "--out", str(out)]) == 0
    (folder,) = out.iterdir()
    return folder


def test_networks_of_frequency_layers_learn_from_scratch_and_are_saved(scratch):
    rows = results(scratch)["rows"]
    assert [row["network"] for row in rows] == ["dense", "dct", "shannon"]
    for row in rows[1:]:
        assert row["top1"] > 85  # of ten classes
        assert (row["params"], row["macs"]) == (50_880, rows[0]["macs"])
        net = load_frequency_layers(scratch / f"{row['network']}.safetensors", LeNet5())
        assert sum(p.numel() for p in net.parameters()) == row["params"]
    assert "Plotly.newPlot" in (scratch / "report.html").read_text()
    drifts = [row["drift"] for row in json.loads((scratch / "history.json").read_text()) if row["network"] == "dct"]
    assert len(drifts) == 6  # epochs
    assert all(list(drift) == ["fc1", "fc2"] for drift in drifts), drifts[0].keys()
    assert all(low < high for low, *_, high in drifts[-1].values())  # some frequencies went down, or stayed, others up


def test_the_synonyms_of_linear_name_one_run_and_frequency_has_kernels_of_its_own():
    one, two, three = (
        Config(compression=Compression(frequency=True, layers=name)) for name in ("linear", "fc", "dense")
    )
    assert one.name == two.name == three.name != Config(compression=Compression(frequency=True)).name
    assert one.compression.kernel == ("dct", "dst", "dft", "shannon")
    assert Compression(("svd",), frequency=True).kernel == ("svd",)  # and is refused, as the table of refusals says


def test_the_page_of_a_comparison_is_written_from_run_folders(scratch, tmp_path, capsys):
    page = tmp_path / "page.md"
    assert compare([str(scratch), "--frequency", "--out", str(page)]) == 0
    text, row = page.read_text(), results(scratch)["rows"][1]
    assert f"| linear | dct | 6 | {row['top1']:.2f} (" in text
    assert "| 50,880 | 82.5% |" in text
    command = "experiments.run --model lenet5 --kernel dct shannon --layers linear --frequency --max-epochs 6 --lr 0.01"
    assert command in text
    assert verbs(["frequency", str(scratch), "--out", str(tmp_path / "again.md")]) == 0  # the name of before
    assert (tmp_path / "again.md").read_text() == text
    assert compare([str(tmp_path), "--frequency"]) == 2
    assert "error: run must be the folder of a complete run with --frequency, got" in capsys.readouterr().err
