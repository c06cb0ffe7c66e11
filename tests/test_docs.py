"""README and docs/ say what is so: their Python runs, their commands are understood, their links lead somewhere."""

import importlib
import re
import shlex
from pathlib import Path

import pytest
import torch
import torchvision
import tyro
from torch import nn

from experiments.__main__ import VERBS, main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("[!_]*/*.md"))]
PAGES += sorted((ROOT / "docs").glob("*.md"))
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:\.venv/bin/)?(?:python -m experiments\.|experiments )(\w+)(?![\w.])(.*)")


def name_of(page):
    return str(page.relative_to(ROOT))


def blocks(page, language):
    return [text for _, written, text in BLOCK.findall(page.read_text()) if written == language]


class Net(nn.Sequential):
    """A network of the reader's."""

    def __init__(self):
        conv = nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.AdaptiveAvgPool2d(1)
        super().__init__(*conv, nn.Flatten(), nn.Linear(32, 10))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
@pytest.mark.parametrize("network", ["small", pytest.param("as it stands", marks=pytest.mark.slow)])
def test_the_python_of_a_page_runs(network, page, tmp_path, monkeypatch):
    """One block after the other, with a network and images as a reader has them, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    if network == "small":  # two minutes of planning and refitting become seconds
        monkeypatch.setattr(torchvision.models, "resnet18", lambda num_classes: Net())
    torch.manual_seed(0)
    images = torch.rand(32, 3, 16, 16)
    given = {"__name__": "__main__", "Net": Net, "model": Net().eval(), "images": images, "batches": images.split(8)}
    names = dict(given)
    for text in blocks(page, "python"):
        exec(compile(text, name_of(page), "exec"), names)
    assert names.keys() - given.keys() - {"__builtins__"}, "the page's Python makes nothing"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_python_stands_in_blocks_that_are_run(page):
    """But for a server, which answers until it is stopped: tests/experiments/test_workers.py runs it."""
    indented = re.findall(r"(?:^ {4}.*\n|^\n)+", BLOCK.sub("", page.read_text()), re.MULTILINE)
    python = [text for text in indented if re.search(r"^ {4}(from \w+ import|import|with|\w+ = )", text, re.MULTILINE)]
    assert all("run_grpc_proxy_server(" in text for text in python), python


def test_start_takes_thirty_lines():
    assert len([line for line in blocks(ROOT / "docs" / "start.md", "python")[0].splitlines() if line.strip()]) <= 30


def code(page):
    """Every piece of code that a page shows: lines of blocks, indented lines, what stands between backticks."""
    text = page.read_text()
    fenced = "".join(body for _, language, body in BLOCK.findall(text) if language != "python")
    rest = BLOCK.sub("", text)
    lines = "\n".join([fenced, *re.findall(r"^ {4,}(.*)", rest, re.MULTILINE)])
    inline = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", rest)]
    return [*re.sub(r"\\\n\s*", " ", lines).splitlines(), *inline]


def commands(page):
    """(verb, its words) of every command of ours on a page."""
    matches = [COMMAND.match(line.strip()) for line in code(page)]
    given = [(match[1], shlex.split(match[2].replace("...", ""), comments=True)) for match in matches if match]
    return [(verb, words) for verb, words in given if verb in VERBS or verb.islower()]


def test_every_verb_is_shown():
    assert {verb for page in PAGES for verb, _ in commands(page)} == set(VERBS)


class Understood(Exception):
    """A command line has been read; the work is not done."""


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name_of)
def test_the_commands_of_a_page_are_understood(page, monkeypatch, capsys):
    read = tyro.cli

    def read_only(*args, **options):
        raise Understood(read(*args, **options))

    monkeypatch.setattr(tyro, "cli", read_only)
    for verb, words in commands(page):
        if "--help" in words:
            assert verb in VERBS
            continue
        try:
            main([verb, *words])
        except Understood:
            continue
        except SystemExit:  # tyro has refused the words, and said why on stderr
            pytest.fail(f"{verb} {' '.join(words)}: {capsys.readouterr().err}")
        pytest.fail(f"{verb} {' '.join(words)} was not read by the door of the verbs")


def anchor(heading):
    """The name by which a heading is linked to, as GitHub and MyST make it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_links_of_a_page_lead_somewhere(page):
    text = BLOCK.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"\w+:", target):  # on the web
            continue
        path, _, place = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert file.is_relative_to(ROOT), target
        if place:
            assert place in map(anchor, re.findall(r"^#+ (.*)", file.read_text(), re.MULTILINE)), target


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_files_that_a_page_names_are_there(page):
    rooms = "layers|experiments|tests|docs|stage1_scipy|stage2_numpy|stage3_torch"
    for line in code(page):
        for place in re.findall(rf"(?<![\w/.-])(?:{rooms})/[a-z0-9_/.]*[a-z0-9/](?![\w*-])", line):  # no capitals, no *
            assert (ROOT / place).exists(), f"{place} in {line}"


def test_the_targets_of_make_that_pages_name_are_there():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {match[1] for page in PAGES for line in code(page) if (match := re.match(r"make (\w+)$", line))}
    assert named
    assert named <= targets


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_what_a_page_imports_of_layers_is_there(page):
    """`layers.save` and the like, wherever they are named."""
    for place in code(page):
        if match := re.fullmatch(r"(layers(?:\.\w+)*)\.(\w+)(?:\(.*\))?", place):
            assert hasattr(importlib.import_module(match[1]), match[2]), place
