"""A page as headless Chromium draws it: what it loads, what it complains of, whether all of it can be read."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WAIT = 180_000  # milliseconds: the machine may have other work


@contextmanager
def launched() -> Iterator:
    """A browser, which opens any number of pages.

    Skips the test where there is no Chromium, or no Playwright to drive it.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium to look at pages with")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright to drive chromium with")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser, page: Path, width: int = 1400, dark: bool = False) -> Iterator:
    """The Playwright page of an HTML file, whose `troubles` are requests that leave the machine and errors."""
    scheme = "dark" if dark else "light"
    with browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as context:
        view = context.new_page()
        view.set_default_timeout(WAIT)
        view.troubles = []
        view.on("request", lambda request: _leaves(view, request.url))
        view.on("pageerror", lambda error: view.troubles.append(str(error)))
        view.on("console", lambda message: message.type == "error" and view.troubles.append(message.text))
        view.goto(page.as_uri())
        yield view


def _leaves(view, url: str) -> None:
    if not url.startswith(("file:", "data:", "blob:")):
        view.troubles.append(f"loads {url}")


def overflow(view) -> int:
    """By how many pixels the page stays wider than the window, once figures that follow the window had time to."""
    return settled(view, "Math.max(0, document.documentElement.scrollWidth - window.innerWidth)")


def settled(view, fault: str):
    """What remains of a fault of a page, once it had time to go: figures follow the window a moment later."""
    for _ in range(100):
        if not (found := view.evaluate(fault)):
            break
        view.wait_for_timeout(200)
    return found


READY = "document.documentElement.dataset.ready"
WHOLE = "[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('.main-svg[aria-hidden]'))"
PAPER = "getComputedStyle(document.body).backgroundColor"
DRAWN = """[...document.querySelectorAll('.plot')]
    .map(p => [p.id, p.querySelectorAll('.main-svg').length,
               p.querySelectorAll('.point, .points path, .js-line, .hm image').length])"""
CUT = """[...document.querySelectorAll('.plot')].flatMap(plot => {
    const box = plot.getBoundingClientRect();
    return [...plot.querySelectorAll('.main-svg text')].filter(text => {
        const seen = text.getBoundingClientRect();
        const out = [box.left - seen.left, seen.right - box.right, box.top - seen.top, seen.bottom - box.bottom];
        return seen.width && Math.max(...out) > 4;
    }).map(text => `${plot.getAttribute('aria-label').slice(0, 40)}: ${text.textContent}`);
})"""
EMPTY = """window.emptied = [...document.querySelectorAll('.plot svg[aria-hidden=true]')].map(svg => {
    const parts = [...svg.childNodes];
    svg.replaceChildren();
    return [svg, parts];
})"""
PAPERS = {False: "rgb(255, 255, 255)", True: "rgb(20, 22, 27)"}  # dark or not -> PAPER
PARTS = ("h1", ".verdict p", ".eyebrow", ".plot .xtick text")


def contrast(view, selector: str) -> float:
    """The ratio of the luminances of an element's text and of the page (WCAG 2.2)."""
    ink = "getComputedStyle(found)[found.closest('svg') ? 'fill' : 'color']"
    colours = view.evaluate(f"(found => [{ink}, {PAPER}])(document.querySelector({json.dumps(selector)}))")
    high, low = sorted(map(_luminance, colours), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    values = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    red, green, blue = (v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in values)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def violations(view) -> list:
    """What axe-core finds that keeps people from a page: names of its rules and where they are broken.

    Drawings that the page itself hides from its judgement are emptied meanwhile: they are most of what it would walk.
    """
    view.evaluate(EMPTY)
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe-core to judge pages with")
    found = axe.Axe().run(view).response["violations"]
    view.evaluate("window.emptied.forEach(([svg, parts]) => svg.replaceChildren(...parts))")
    return [(rule["id"], rule["nodes"][0]["target"], len(rule["nodes"])) for rule in found]


def photograph(view, name: str) -> None:
    """Leave a picture of the page for whoever wants to look at it, in the folder that SCREENSHOTS names."""
    if where := os.environ.get("SCREENSHOTS"):
        view.screenshot(path=f"{where}/{name}.png", full_page=True)


def look_over(browser, page: Path, afresh: bool = False) -> None:
    """Assert of a page of ours what must hold of each: light on a desk, dark on a phone, loaded there or turned to it.

    afresh: load it on the phone as well; one template makes all pages, so that one of them tells of the others.
    """
    assert page.stat().st_size < 6e6
    with opened(browser, page) as view:
        _look(view, page, False)
        _sorts(view)
        if not afresh:
            view.set_viewport_size({"width": 390, "height": 900})
            view.emulate_media(color_scheme="dark")
            assert settled(view, f"{PAPER} !== {json.dumps(PAPERS[True])}") is False
            _look(view, page, True)
    if afresh:
        with opened(browser, page, 390, True) as view:
            _look(view, page, True)


def _look(view, page: Path, dark: bool) -> None:
    """Assert what must hold on either device."""
    view.wait_for_function(READY)
    assert view.evaluate(PAPER) == PAPERS[dark]
    view.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    view.wait_for_function(WHOLE)
    for identity, canvases, marks in view.evaluate(DRAWN):
        assert canvases, identity
        assert marks, f"{identity} has axes and nothing in them"
    assert overflow(view) <= 0
    assert settled(view, CUT) == []
    photograph(view, f"{page.parent.name}-{page.stem}-{'phone' if dark else 'desk'}")
    assert view.locator("h1").count() == 1
    assert view.evaluate("[...document.querySelectorAll('th')].every(th => th.scope)")
    labels = view.evaluate("[...document.querySelectorAll('.plot')].map(p => p.ariaLabel)")
    assert all(len(words) > 20 for words in labels), labels
    for selector in PARTS:
        assert contrast(view, selector) >= 4.5, selector
    assert violations(view) == []
    assert view.troubles == []


def _sorts(view) -> None:
    """Every table with controls can be sorted by its last column, either way."""
    for table in view.locator(".scroll[data-controls] table.grid").all():
        head = table.locator("thead th").last
        for direction in ("ascending", "descending"):
            head.click()
            table.locator(f"th[aria-sort={direction}]").wait_for()
