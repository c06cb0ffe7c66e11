"""Sphinx builds these pages: `make docs`, offline, warnings as errors; they load nothing from a network."""

import importlib
import inspect
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]

import front  # noqa: E402  # the folders are on the path now

import layers  # noqa: E402

project = "Compression kernels"
version = layers.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
smartquotes = False  # mathematics and options keep their dots and dashes

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = html_show_copyright = html_copy_source = False
pygments_style, pygments_dark_style = "friendly", "github-dark"

autosummary_generate = False
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False


def plain(text: str) -> str:
    """Mathematics as it stands: what reStructuredText would read as markup (* | _) is escaped, `code` is code."""
    parts = re.split(r"(``?[^`]+``?)", text)
    return "".join(
        f"``{part.strip('`')}``" if part.startswith("`") else re.sub(r"([\\*|]|_(?!\w))", r"\\\1", part)
        for part in parts
    )


def read_plainly(app, what, name, obj, options, lines):
    """Escape a docstring, its examples excepted, before napoleon reads its sections."""
    if lines[0].startswith("Alias for field number"):  # of a NamedTuple: what its line in the source says
        owner, field = name.rsplit(".", 1)
        package, holder = owner.rsplit(".", 1)
        source = inspect.getsource(getattr(importlib.import_module(package), holder))
        lines[:] = re.findall(rf"^ *{field}: [^#]*# (.*)", source, re.MULTILINE)[:1]
    example = False
    for i, line in enumerate(lines):
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        if not example:
            lines[i] = plain(line)


def face(package: str) -> str:
    """All that a package hands on, room by room: what the room is for, a line for each name, then their docstrings."""
    rooms: dict[str, list[str]] = {}
    for name, thing in vars(importlib.import_module(package)).items():
        place = getattr(thing, "__module__", "").split(".")
        if place[0] == package and len(place) > 1 and not name.startswith("_"):
            rooms.setdefault(place[1], []).append(name)
    parts = []
    for room, names in rooms.items():
        purpose = (importlib.import_module(f"{package}.{room}").__doc__ or "").splitlines()[0]
        listed = "".join(f"   {name}\n" for name in names)
        kinds = [("class" if inspect.isclass(vars(sys.modules[package])[name]) else "function", name) for name in names]
        each = "".join(f".. auto{kind}:: {name}\n" + "   :members:\n" * (kind == "class") for kind, name in kinds)
        listing = f".. currentmodule:: {package}\n\n.. autosummary::\n   :nosignatures:\n\n{listed}\n{each}"
        parts.append(f"## {room}\n\n{purpose}\n\n```{{eval-rst}}\n{listing}```\n")
    return "\n".join(parts)


def read_face(app, docname, source):
    """Put the face of the package that a page is named after in its place."""
    source[0] = re.sub(r"<!-- the face of the package -->", lambda _: face(docname.rpartition("/")[2]), source[0])


def setup(app):
    """Sphinx's door for an extension."""
    front.draw(ROOT / "docs" / "_figures")
    app.connect("autodoc-process-docstring", read_plainly, priority=400)  # napoleon comes at 500
    app.connect("source-read", read_face)
