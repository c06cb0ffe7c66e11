"""`make docs` builds a site without a warning, which loads nothing, documents every name and fits a phone."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import opened, overflow

import contract
import layers
import stage1_scipy
import stage2_numpy
import stage3_torch

pytest.importorskip("sphinx", reason="no Sphinx to build the site with")
ROOT = Path(__file__).parents[1]
SHOWN = "[...document.images].filter(image => image.checkVisibility())"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, built by the command of `make docs`, which ends at the first kind of warning."""
    folder = tmp_path_factory.mktemp("site")
    (words,) = re.findall(r"python (-m sphinx .*) docs docs/_build$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    command = [sys.executable, *words.split(), "--doctree-dir", str(folder / "trees"), "docs", str(folder / "html")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder / "html"


def test_every_page_is_built_and_every_public_name_documented(site):
    for page in (ROOT / "docs").rglob("*.md"):
        assert (site / page.relative_to(ROOT / "docs")).with_suffix(".html").exists(), page
    for package in (layers, stage1_scipy, stage2_numpy, stage3_torch):
        text = (site / "api" / f"{package.__name__}.html").read_text()
        rooms = f"{package.__name__}."
        public = {n for n, x in vars(package).items() if getattr(x, "__module__", "").startswith(rooms) and n[0] != "_"}
        assert public
        assert public <= set(re.findall(rf'id="{package.__name__}\.(\w+)"', text)), package.__name__
    assert 'id="contract.Kernel"' in (site / "api" / f"{contract.__name__}.html").read_text()
    assert "Alias for field number" not in "".join(page.read_text() for page in (site / "api").glob("*.html"))


def test_no_page_or_style_loads_anything_from_a_network(site):
    """Links may lead out; scripts, styles, fonts and images may not."""
    tags = re.compile(r"<(?:script|img|link|iframe|source)\b[^>]*?(?:src|href)=\"(?:https?:)?//[^>]*>")
    for page in site.rglob("*.html"):
        assert not tags.findall(page.read_text()), page
    for style in site.rglob("*.css"):
        assert not re.findall(r"url\([\"']?(?:https?:)?//|@import", style.read_text()), style


@pytest.mark.parametrize("which", ["one of each kind", pytest.param("all", marks=pytest.mark.slow)])
def test_pages_fit_a_phone_and_a_desk(which, site, chromium):
    """Dark on a phone, light on a desk; each page is loaded once, for its styles alone follow the window."""
    pages = [page for page in sorted(site.rglob("*.html")) if "_modules" not in page.parts]
    assert len(pages) > 30
    if which != "all":
        names = ("index", "start", "kernels", "guides/commands", "results/planner", "api/layers", "genindex")
        pages = [site / f"{name}.html" for name in names]
    with opened(chromium, site / "index.html") as view:
        for page in pages:
            view.goto(page.as_uri())
            for width, dark in ((390, True), (1400, False)):
                name = f"{page.relative_to(site)}, {width} pixels"
                view.set_viewport_size({"width": width, "height": 900})
                view.emulate_media(color_scheme="dark" if dark else "light")
                assert overflow(view) == 0, name
                red = view.evaluate("parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
                assert (red < 60) is dark, name
                if page == site / "index.html":  # one figure, that of the theme
                    view.wait_for_function(f"{SHOWN}.every(image => image.complete)")
                    assert view.evaluate(f"{SHOWN}.map(image => image.naturalWidth > 0)") == [True], name
        assert view.troubles == []
