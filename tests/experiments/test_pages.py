"""Every page in a browser: no error, nothing asked of a network, figures drawn, tables that sort, dark and light."""

import json
import os

import pytest
from browser import opened, overflow
from quick_runs import QUICK

from experiments.compare.__main__ import main as compare
from experiments.inspect.__main__ import main as inspect
from experiments.lab.reporting.comparison import Comparison
from experiments.lab.reporting.formats import to_latex, to_markdown
from experiments.lab.runs import record
from experiments.run.__main__ import main as run

READY = "document.documentElement.dataset.ready"
PAPER = "getComputedStyle(document.body).backgroundColor"
DRAWN = """[...document.querySelectorAll('.plot')].filter(p => !p.closest('details:not([open])'))
    .map(p => [p.id, p.querySelectorAll('.main-svg').length,
               p.querySelectorAll('.point, .points path, .js-line, .hm image').length])"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A short run of several kernels, with its page, that of a comparison and that of the inspector."""
    out = tmp_path_factory.mktemp("runs")
    options = ["--kernel", "svd", "tucker", "ht", "cp", "--budget", "macs=0.6", "--out", str(out)]
    assert run([*QUICK, *options]) == 0
    (made,) = out.iterdir()
    assert compare([str(made), "--out", str(made / "compare.html")]) == 0
    assert inspect([str(made)]) == 0
    return made


def contrast(view, selector):
    """The ratio of the luminances of an element's text and of the page (WCAG 2.2)."""
    ink = "getComputedStyle(found)[found.closest('svg') ? 'fill' : 'color']"
    colours = view.evaluate(f"(found => [{ink}, {PAPER}])(document.querySelector({json.dumps(selector)}))")
    high, low = sorted(map(_luminance, colours), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour):
    values = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("name", ["report.html", "compare.html", "inspect.html"])
def test_a_page_draws_all_it_has_fits_a_phone_and_asks_for_nothing(folder, name):
    path = folder / name
    assert path.stat().st_size < 6e6
    with opened(path) as view:
        view.wait_for_function(READY)
        for identity, canvases, marks in view.evaluate(DRAWN):
            assert canvases, identity
            assert marks, f"{identity} has axes and nothing in them"
        view.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
        view.wait_for_function("[...document.querySelectorAll('.plot')].every(p => p.querySelector('.main-svg'))")
        _photograph(view, f"{name}-1400")
        assert overflow(view) <= 0
        view.set_viewport_size({"width": 390, "height": 900})
        view.wait_for_timeout(500)
        _photograph(view, f"{name}-390")
        assert overflow(view) <= 0
        assert view.locator("h1").count() == 1
        assert view.evaluate("[...document.querySelectorAll('th')].every(th => th.scope)")
        labels = view.evaluate(
            "[...document.querySelectorAll('.plot')].map(p => [p.getAttribute('role'), p.ariaLabel])"
        )
        assert all(role == "img" and len(words) > 20 for role, words in labels), labels
        assert view.evaluate("[...document.querySelectorAll('button')].every(b => b.ariaLabel || b.textContent.trim())")
        for selector in ("h1", ".verdict p", ".eyebrow", ".plot .xtick text"):
            assert contrast(view, selector) >= 4.5, selector
        assert view.troubles == []


def _photograph(view, name):
    """Leave a picture of the page for whoever wants to look at it, in the folder that SCREENSHOTS names."""
    if where := os.environ.get("SCREENSHOTS"):
        view.screenshot(path=f"{where}/{name}.png", full_page=True)


def test_the_table_sorts_by_its_numbers_and_filters_by_words(folder):
    with opened(folder / "report.html") as view:
        view.wait_for_function(READY)
        table = view.locator("table.grid").first
        heads = [words.strip() for words in table.locator("thead th").all_inner_texts()]
        column = next(number for number, words in enumerate(heads) if words.startswith("MACs"))
        rows = {row["network"]: row["macs"] for row in record.read_results(folder)["rows"]}
        orders = []
        for direction in ("ascending", "descending"):
            table.locator("thead th").nth(column).click()
            view.wait_for_selector(f"th[aria-sort={direction}]")  # rows are sorted a moment after the click
            view.wait_for_timeout(200)
            orders.append([rows[words.strip()] for words in table.locator("tbody th").all_inner_texts()])
        assert orders == [sorted(rows.values()), sorted(rows.values(), reverse=True)]
        view.locator("input[type=search]").first.fill("tucker")
        assert [words.strip() for words in table.locator("tbody th").all_inner_texts()] == ["tucker"]


def test_dark_is_what_the_system_says_until_the_button_says_otherwise(folder):
    with opened(folder / "report.html", dark=True) as view:
        view.wait_for_function(READY)
        assert view.evaluate(PAPER) == "rgb(20, 22, 27)"
        _photograph(view, "dark")
        for selector in ("h1", ".verdict p", ".eyebrow", ".facts dd", ".plot .xtick text", "table.grid tbody td"):
            assert contrast(view, selector) >= 4.5, selector
        view.get_by_role("button", name="Change to light colours").press("Enter")
        assert view.evaluate(PAPER) == "rgb(255, 255, 255)"
        assert view.get_by_role("button", name="Change to dark colours").count() == 1


def test_the_keyboard_reaches_the_results_first_and_copies_what_the_buttons_say(folder):
    with opened(folder / "report.html") as view:
        view.wait_for_function(READY)
        view.context.grant_permissions(["clipboard-read", "clipboard-write"])
        view.keyboard.press("Tab")
        assert view.evaluate("document.activeElement.textContent") == "Skip to the results"
        view.keyboard.press("Enter")
        assert view.evaluate("document.activeElement.id") == "main"
        shown = Comparison({folder.name: record.read_results(folder)})
        for name, text in {"Markdown": to_markdown(shown), "LaTeX": to_latex(shown)}.items():
            view.get_by_role("button", name=f"Copy as {name}: Accuracy and cost of every network").press("Enter")
            view.wait_for_function("document.getElementById('status').textContent === 'Copied'")
            assert view.evaluate("navigator.clipboard.readText()") == text
            view.evaluate("document.getElementById('status').textContent = ''")


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
    for words in ("Singular values in the metric of the loss", "measured alone", "Step by step", "Training"):
        assert words in text
