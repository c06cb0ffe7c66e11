"""The thesis compiles, to the same bytes each time, and says nothing of this project that is not there."""

import importlib.util
import json
import re
import shutil
from pathlib import Path

import pytest
import typst
from records import whole_record

from experiments.lab.results import result
from experiments.lab.results.manifest import manifest

THESIS = Path(__file__).parents[1] / "thesis"
CHAPTERS = sorted((THESIS / "chapters").glob("*.typ"))


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_thesis", THESIS / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_compiles_without_a_warning_to_the_same_bytes(build, tmp_path):
    first, second = (build.build(tmp_path / name) for name in ("first", "second"))
    for one, other in zip(first, second):
        assert one.read_bytes() == other.read_bytes()
    assert first[0].read_bytes().startswith(b"%PDF")
    page = first[1].read_text(encoding="utf-8")
    assert "<math" in page
    assert not re.search(r"(src|href)=\"https?://(?!doi\.org)", page)


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
            assert (THESIS.parent / name).exists(), name
