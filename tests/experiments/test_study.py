"""The kernel study: its measures against values worked out by hand, and the verb as a user calls it."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from browser import look_over
from safetensors.torch import save_file

import stage3_torch
from contract import CP, KERNELS, SVD, leaves
from experiments.lab.models.lenet import LeNet
from experiments.study import figures
from experiments.study.__main__ import main
from experiments.study.config import Study
from experiments.study.measuring import decompositions as ranks
from experiments.study.measuring.coefficients import TRANSFORMS, coefficients, frequency
from experiments.study.measuring.compaction import affordable, explained, gini, needed, positions
from experiments.study.measuring.versions import versions
from experiments.study.summary import time_table
from layers.coded import smooth_order

ROOT = Path(__file__).parents[2]
TEXTS = {
    "report.html",
    "summary.md",
    "tables.md",
    "errors.csv",
    "compaction.csv",
    "curves.csv",
    "times.csv",
    "results.json",
}
PER_KIND = ("error_by_fraction", "error_by_condition", "variance_explained")
FIGURES = {*PER_KIND, *(f"{name}_linear" for name in PER_KIND), "time_per_stage"}


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kernel", TRANSFORMS)
def test_coefficients_are_real_and_keep_the_energy(kernel):
    x = noise(2, 5, 4, 3, 3)
    c = coefficients(x, kernel, (1, 2, 3, 4))
    assert c.shape == x.shape
    assert c.dtype == torch.float64
    torch.testing.assert_close(c.flatten(1).norm(dim=1), x.flatten(1).norm(dim=1))


def test_keeping_coefficients_leaves_the_error_that_decoding_leaves():
    x = noise(6, 7)
    c = coefficients(x, "dct", (0, 1))
    small = c.abs() < c.abs().flatten().sort(descending=True).values[9]  # ten are kept
    x_hat = stage3_torch.idct(stage3_torch.idct(c.masked_fill(small, 0), axis=0), axis=1)
    expected = ((x - x_hat).norm() / x.norm()) ** 2
    torch.testing.assert_close(1 - explained(c.flatten()[None])[0, 10], expected)


@pytest.mark.parametrize("kernel", ["dct", "dft", "dht", "dwt", "shannon"])
def test_a_constant_is_one_coefficient_and_the_lowest(kernel):
    x = torch.ones(1, 8, 4, dtype=torch.float64)
    order = frequency(kernel, (8, 4), (0, 1)).flatten().argsort(stable=True)
    v = explained(coefficients(x, kernel, (1, 2)).flatten(1), order)
    torch.testing.assert_close(v[0, 1], torch.tensor(1.0, dtype=torch.float64))
    assert needed(v, 0.99).item() == 1 / 32


def test_frequencies_rise_with_the_index_of_a_cosine_and_pair_up_in_the_dft():
    for n in (2, 3, 5, 16, 64):
        assert (frequency("dct", (n,), (0,)).diff() > 0).all()
    torch.testing.assert_close(frequency("dft", (5,), (0,)), torch.tensor([0, 1, 2, 2, 1], dtype=torch.float64) / 5)
    assert frequency("dct", (4, 3), (1,)).unique().numel() == 3  # nothing along the other axis


def test_the_real_numbers_of_a_cosine_in_the_dft_are_one():
    x = torch.cos(2 * math.pi * torch.arange(8, dtype=torch.float64) / 8)[None]
    c = coefficients(x, "dft", (1,))
    torch.testing.assert_close(c.abs().sort().values[0], torch.tensor([0.0] * 7 + [2.0], dtype=torch.float64))


def test_variance_explained_needed_and_gini_by_hand():
    c = torch.tensor([[1.0, 3.0, 0.0, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(explained(c)[0], torch.tensor([0, 0.9, 1, 1, 1], dtype=torch.float64))
    order = torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(explained(c, order)[0], torch.tensor([0, 0.1, 1, 1, 1], dtype=torch.float64))
    assert needed(explained(c), 0.9).item() == 0.25
    assert needed(explained(c), 0.95).item() == 0.5
    assert gini(torch.ones(1, 4)).item() == pytest.approx(0)
    assert gini(torch.eye(1, 4)).item() == pytest.approx(3 / 4)  # 1 - 1 / N


@pytest.mark.parametrize("kernel", TRANSFORMS)
def test_noise_is_as_compact_as_noise_in_every_basis(kernel):
    c = coefficients(noise(1, 64, 64), kernel, (1, 2))
    assert gini(c.flatten(1)).item() == pytest.approx(2**0.5 - 1, abs=0.01)


def test_positions_are_paid_for():
    assert positions(4, 2) == pytest.approx(math.log2(6) / 32)
    assert positions(100, 100) == pytest.approx(0)
    kept = affordable(1000, 1 / 8)
    assert kept + positions(1000, kept) <= 125 < kept + 1 + positions(1000, kept + 1)
    assert affordable(10, 0.05) == 0


@pytest.mark.parametrize("method", ranks.CONV, ids=lambda method: f"{method.kernel}-{method.layout}")
@pytest.mark.parametrize("shape", [(8, 5, 3, 3), (2, 9, 3, 1), (6, 6, 5, 5)])
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_stored_numbers_are_those_of_the_code_and_the_most_that_fit(method, shape, fraction):
    x = method.view(noise(1, *shape))[0]
    spec, count = ranks.choose(method, x.shape, fraction * x.numel())
    if spec is None:
        assert method.numbers(x.shape, next(iter(method.specs(x.shape)))) > fraction * x.numel()
        return
    code = getattr(stage3_torch, KERNELS[method.kernel].encode)(x, **spec)
    scales = code.s if isinstance(code, SVD) else code.weights if isinstance(code, CP) else torch.empty(0)
    assert count == sum(array.numel() for array in leaves(code)) - scales.numel() <= fraction * x.numel()


@pytest.mark.parametrize("method", ranks.CONV, ids=lambda method: f"{method.kernel}-{method.layout}")
def test_a_weight_of_rank_one_is_exact_at_rank_one_and_nothing_is_an_error_of_one(method):
    a, b, c, d = (noise(n, seed=n) for n in (12, 10, 3, 3))
    x = torch.einsum("i,j,k,l->ijkl", a, b, c, d)[None]
    assert ranks.errors(method, x, 0.3)[1].item() < 1e-7
    stored, error = ranks.errors(method, x, 0.001)
    assert (stored, error.item()) == (0, 1)


def test_sorting_restores_a_shuffled_smooth_order():
    rows = torch.linspace(0, 3, 30, dtype=torch.float64)[:, None].exp() * torch.ones(1, 4, dtype=torch.float64)
    shuffled = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    found = shuffled[smooth_order(rows[shuffled], 0, starts="all")].tolist()
    assert found in ([*range(30)], [*range(29, -1, -1)])


def test_versions_are_permutations_or_noise_of_the_same_moments():
    w = noise(40, 30) * 0.1 + 1
    names, x = versions(w, repeats=2, seed=3)
    assert names == ["trained", "random", "shuffled", "random", "shuffled", "sorted", "random, sorted"]
    flat = x.flatten(1).sort(dim=1).values
    for i in (2, 4, 5):
        torch.testing.assert_close(flat[i], flat[0], rtol=0, atol=0)
    assert not torch.equal(x[2], x[4])
    torch.testing.assert_close(flat[6], flat[3], rtol=0, atol=0)  # the last noise, sorted
    assert x[1].std().item() == pytest.approx(w.std().item(), rel=0.1)
    assert torch.equal(versions(w, 2, 3)[1], x)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """(study folder, arguments) of a quick study of an untrained LeNet."""
    folder = tmp_path_factory.mktemp("study")
    torch.manual_seed(0)
    save_file(LeNet(classes=7).state_dict(), folder / "net.safetensors")
    out = folder / "runs"
    arguments = f"--checkpoint {folder}/net.safetensors --fractions 0.125 0.5 --repeats 1 --out {out}".split()
    assert main(arguments) == 0
    (found,) = out.iterdir()
    return found, arguments


@pytest.mark.slow
def test_its_page_in_a_browser(study, chromium):
    """Made by the template of the pages in test_pages.py, of tables and figures as there."""
    look_over(chromium, study[0] / "report.html")


def test_the_folder_holds_tables_figures_and_the_summary(study, capsys, monkeypatch):
    folder, arguments = study
    assert {path.name for path in folder.iterdir()} == TEXTS | {f"{n}.{e}" for n in FIGURES for e in ("png", "pdf")}
    errors = pd.read_csv(folder / "errors.csv")
    assert set(errors.kernel) == {*KERNELS, "none"}
    assert errors.error.between(0, 1 + 1e-9).all()
    assert {row["name"] for row in json.loads((folder / "results.json").read_text())["layers"]} == {
        *("conv2", "fc1", "fc2")
    }
    assert set(pd.read_csv(folder / "times.csv").stage) == {1, 2, 3}
    monkeypatch.setenv("COLUMNS", "80")
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "Which kernel holds them best?" in out
    assert max(map(len, out.splitlines()[:-2])) <= 80  # the last lines have paths
    assert "| ---" not in out  # it is drawn, not Markdown's own signs
    assert "nan" not in (folder / "summary.md").read_text()


def test_the_summary_has_the_numbers_of_the_tables_and_what_made_them(study):
    folder, _ = study
    summary, errors = (folder / "summary.md").read_text(), pd.read_csv(folder / "errors.csv")
    conv = errors[(errors.kind == "conv") & (errors.condition == "trained") & (errors.fraction == 0.125)]  # one layer
    factored, plain = conv[conv.keep == "rank"].error.min(), conv[conv.kernel == "none"].error.item()
    row = next(line for line in summary.splitlines() if line.startswith("| 1/8 "))
    assert row.endswith(f" {factored:.3f} | {plain:.3f} |")
    assert "Convolutions (1 layer)" in summary
    for page in (summary, (folder / "tables.md").read_text()):
        assert "Generated by `python -m experiments.study --checkpoint FILE --fractions 0.125 0.5 --repeats 1" in page


def test_times_from_a_busy_machine_say_so():
    clock = pd.DataFrame(
        [
            {"kernel": kernel, "axes": "", "stage": stage, "median": stage * 1e-3, "busy": kernel == "cp"}
            for kernel in ("dct", "cp")
            for stage in (1, 2, 3)
        ]
    )
    assert [row[-1] for row in time_table(clock).rows] == ["0.333x", "busy"]


def test_a_complete_study_is_not_repeated_and_force_repeats_it_to_the_same_tables(study, monkeypatch):
    folder, arguments = study
    names = ("errors.csv", "compaction.csv", "curves.csv")
    before, stamp = [(folder / n).read_text() for n in names], (folder / "results.json").stat().st_mtime_ns
    main(arguments)
    assert (folder / "results.json").stat().st_mtime_ns == stamp
    monkeypatch.setattr(figures, "write", lambda *_: None)  # most of a study's time, and no part of its tables
    assert main([*arguments, "--force"]) == 0
    assert (folder / "results.json").stat().st_mtime_ns != stamp
    assert [(folder / n).read_text() for n in names] == before


def test_study_names_do_not_move():
    assert Study().name == "study-lenet-44136fa3"


def test_help_loads_nothing_heavy():
    code = "import sys, experiments.study; print([m for m in ('torch', 'matplotlib', 'pandas') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert loaded.stdout.strip() == "[]"
