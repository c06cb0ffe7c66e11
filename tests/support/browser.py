"""A page as headless Chromium draws it: what it loads, what it complains of, whether it overflows."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

WAIT = 180_000  # milliseconds: the machine may have other work


@contextmanager
def opened(page: Path, width: int = 1400, dark: bool = False) -> Iterator:
    """The Playwright page of an HTML file, whose `troubles` are requests that leave the machine and errors.

    Skips the test where there is no Chromium, or no Playwright to drive it.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium to look at pages with")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright to drive chromium with")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            scheme = "dark" if dark else "light"
            view = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme).new_page()
            view.set_default_timeout(WAIT)
            view.troubles = []
            view.on("request", lambda request: _leaves(view, request.url))
            view.on("pageerror", lambda error: view.troubles.append(str(error)))
            view.on("console", lambda message: message.type == "error" and view.troubles.append(message.text))
            view.goto(page.as_uri())
            yield view
        finally:
            browser.close()


def _leaves(view, url: str) -> None:
    if not url.startswith(("file:", "data:", "blob:")):
        view.troubles.append(f"loads {url}")


def overflow(view) -> int:
    """By how many pixels the page stays wider than the window, once figures that follow the window had time to."""
    for _ in range(100):
        if (wider := view.evaluate("document.documentElement.scrollWidth - window.innerWidth")) <= 0:
            break
        view.wait_for_timeout(200)
    return wider
