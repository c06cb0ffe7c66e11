"""Every page in a browser: no error, nothing asked of a network, figures drawn, tables that sort, dark and light."""

import json
import shutil

import pytest
from browser import PAPER, READY, contrast, look_over, opened, photograph
from quick_runs import QUICK

from experiments.compare.__main__ import main as compare
from experiments.inspect.__main__ import main as inspect
from experiments.lab.reporting.comparison import Comparison
from experiments.lab.reporting.formats import to_latex, to_markdown
from experiments.lab.runs import record
from experiments.run.__main__ import main as run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A short run of several kernels, with its page, that of a comparison and that of the inspector."""
    out = tmp_path_factory.mktemp("runs")
    options = ["--kernel", "svd", "tucker", "ht", "cp", "--budget", "macs=0.6", "--out", str(out)]
    assert run([*QUICK, *options]) == 0
    (made,) = out.iterdir()
    shutil.copytree(made, out / "again")
    assert compare([str(made), str(out / "again"), "--out", str(made / "compare.html")]) == 0
    assert inspect([str(made)]) == 0
    return made


@pytest.fixture(scope="module")
def view(folder, chromium):
    """The report in a window of its own, loaded once for all that can be done with it one after the other."""
    with opened(chromium, folder / "report.html") as shown:
        shown.wait_for_function(READY)
        yield shown


def test_the_keyboard_reaches_the_results_first_and_copies_what_the_buttons_say(folder, view):
    view.context.grant_permissions(["clipboard-read", "clipboard-write"])
    view.keyboard.press("Tab")  # the first thing that is done with the page
    assert view.evaluate("document.activeElement.textContent") == "Skip to the results"
    view.keyboard.press("Enter")
    assert view.evaluate("document.activeElement.id") == "main"
    shown = Comparison({folder.name: record.read_results(folder)})
    for name, text in {"Markdown": to_markdown(shown), "LaTeX": to_latex(shown)}.items():
        view.get_by_role("button", name=f"Copy as {name}: Accuracy and cost of every network").press("Enter")
        view.wait_for_function("document.getElementById('status').textContent === 'Copied'")
        assert view.evaluate("navigator.clipboard.readText()") == text
        view.evaluate("document.getElementById('status').textContent = ''")


def test_the_table_sorts_by_its_numbers_and_filters_by_words(folder, view):
    table = view.locator("table.grid").first
    heads = [words.strip() for words in table.locator("thead th").all_inner_texts()]
    column = next(number for number, words in enumerate(heads) if words.startswith("MACs"))
    rows = {row["network"]: row["macs"] for row in record.read_results(folder)["rows"]}
    for direction in ("ascending", "descending"):
        table.locator("thead th").nth(column).click()
        view.wait_for_selector(f"th[aria-sort={direction}]")
        wanted = sorted(rows.values(), reverse=direction == "descending")
        for _ in range(100):  # rows are sorted a moment after the click
            order = [rows[words.strip()] for words in table.locator("tbody th").all_inner_texts()]
            if order == wanted:
                break
            view.wait_for_timeout(50)
        assert order == wanted
    view.locator("input[type=search]").first.fill("tucker")
    assert [words.strip() for words in table.locator("tbody th").all_inner_texts()] == ["tucker"]
    view.locator("input[type=search]").first.fill("")


def test_dark_is_what_the_system_says_until_the_button_says_otherwise(view):
    view.emulate_media(color_scheme="dark")
    assert view.evaluate(PAPER) == "rgb(20, 22, 27)"
    photograph(view, "dark")
    for selector in ("h1", ".verdict p", ".eyebrow", ".facts dd", ".plot .xtick text", "table.grid tbody td"):
        assert contrast(view, selector) >= 4.5, selector
    view.get_by_role("button", name="Change to light colours").press("Enter")
    assert view.evaluate(PAPER) == "rgb(255, 255, 255)"
    assert view.get_by_role("button", name="Change to dark colours").count() == 1


@pytest.mark.parametrize(
    "name", ["report.html", *(pytest.param(name, marks=pytest.mark.slow) for name in ("compare.html", "inspect.html"))]
)
def test_a_page_draws_all_it_has_can_be_read_by_all_and_asks_for_nothing(folder, name, chromium):
    look_over(chromium, folder / name, afresh=name == "report.html")


def test_the_report_says_what_to_ship_and_shows_what_the_run_kept(folder):
    text = (folder / "report.html").read_text()
    results = record.read_results(folder)
    assert set(results["right"]) == {"dense", "svd", "tucker", "ht", "cp"}
    assert ("Ship " in text) or ("loses least" in text)
    assert "McNemar" in text
    evidence = json.loads((folder / "evidence.json").read_text())
    for network in ("svd", "tucker", "ht", "cp"):
        plan = json.loads((folder / network / "plan.json").read_text())
        changed = {row["name"] for row in plan["layers"] if row["kernel"]}
        assert set(evidence[network]["sensitivity"]) == set(evidence[network]["spectra"]) == changed
        (row,) = (row for row in results["rows"] if row["network"] == network)
        assert [rung.get("unfitted_top1") for rung in row["ladder"]] == [
            *(None, evidence[network]["unfitted_top1"], None)  # dense, kernel, fine-tuning
        ]
    for words in ("Singular values in the metric of the loss", "measured alone", "Step by step", "Training"):
        assert words in text


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The folder of a run of frequency layers, inspected."""
    out = tmp_path_factory.mktemp("learned")
    words = ["--frequency", "--kernel", "dct", "--layers", "conv", "--max-epochs", "2", "--no-track"]
    assert run([*words, "--out", str(out)]) == 0
    (made,) = out.iterdir()
    assert inspect([str(made)]) == 0
    return made


def test_the_page_of_learned_frequencies_shows_how_far_they_drifted(learned):
    text = (learned / "inspect.html").read_text()
    assert "Drift of learned frequencies" in text
    assert "Drift of the frequencies of conv1 of dct: median " in text


@pytest.mark.slow
@pytest.mark.parametrize("name", ["inspect.html", "report.html"])
def test_pages_of_learned_frequencies_in_a_browser(name, learned, chromium):
    """Their parts are those of the pages above, but for one figure."""
    look_over(chromium, learned / name)
