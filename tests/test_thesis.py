"""The thesis compiles, to the same bytes each time, and says nothing of this project that is not there."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typst
from records import whole_record

from experiments.lab.results import result
from experiments.lab.results.manifest import manifest

ROOT = Path(__file__).parents[1]
THESIS = ROOT / "thesis"
CHAPTERS = sorted((THESIS / "chapters").glob("*.typ"))


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_thesis", THESIS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def built(build, tmp_path_factory):
    """(thesis.pdf, thesis.html), made in this process: what compiles with a warning raises."""
    return build.build(tmp_path_factory.mktemp("built"))


def test_compiles_without_a_warning_and_loads_nothing_from_a_network(built):
    assert built[0].read_bytes().startswith(b"%PDF")
    page = built[1].read_text(encoding="utf-8")
    assert "<math" in page
    assert not re.search(r"(src|href)=\"https?://(?!doi\.org)", page)


def clone(folder):
    """A copy of what git has, or would have, of the project: no run, and nothing that was built."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", ":!tests"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)


def test_a_clone_without_runs_has_the_same_bytes_by_another_process(built, tmp_path):
    clone(tmp_path)
    apart = {"cwd": tmp_path, "env": {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}}
    subprocess.run([sys.executable, "thesis/build.py"], **apart, capture_output=True, check=True)
    for one in built:
        assert one.read_bytes() == (tmp_path / "thesis" / one.name).read_bytes()


def test_every_section_compiles_once_its_record_is_there(build, tmp_path, monkeypatch):
    for name in ("chapters", "claims.typ", "figures.toml", "metrics.toml", "references.bib", "runs.toml", "shown.typ"):
        (tmp_path / name).symlink_to(THESIS / name)
    shutil.copy(THESIS / "style.typ", tmp_path)
    shutil.copy(build.SOURCE, tmp_path)
    monkeypatch.setattr(result, "RESULTS", tmp_path / "results")
    for entry in manifest().values():
        result.write(whole_record(entry))
    source = tmp_path / "thesis.typ"
    words = typst.query(str(source), "<claim>", field="value", root=str(tmp_path), sys_inputs=build.inputs(source))
    cited = {of[0] for claim in json.loads(words) for of in claim["of"]}
    assert cited | {"digits-smallest"} == set(manifest())


def test_a_mistake_in_the_text_is_one_sentence(build, tmp_path, monkeypatch):
    broken = tmp_path / "thesis.typ"
    broken.write_text("#cite(<nobody>)\n", encoding="utf-8")
    monkeypatch.setattr(build, "SOURCE", broken)
    with pytest.raises(ValueError, match="the thesis must compile, got"):
        build.build(tmp_path / "out")


def test_every_chapter_is_in_it():
    text = (THESIS / "thesis.typ").read_text(encoding="utf-8")
    assert CHAPTERS
    assert sorted(re.findall(r'include "chapters/([^"]+)"', text)) == [path.name for path in CHAPTERS]


def test_every_source_is_cited_and_has_an_address():
    entries = re.findall(r"@(\w+)\{(\w+),(.*)\}", (THESIS / "references.bib").read_text(encoding="utf-8"))
    cited = {key for path in CHAPTERS for key in re.findall(r"cite\(<(\w+)>", path.read_text(encoding="utf-8"))}
    assert {key for _, key, _ in entries} == cited
    for kind, key, fields in entries:
        assert "doi=" in fields or kind in ("inproceedings", "book") or "Machine Learning Research" in fields, key


def test_the_files_it_names_are_there():
    for path in CHAPTERS:
        for name in re.findall(r'#code\("([^"]+)"\)', path.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), name
