"""Files and folders appear whole, with the umask's permissions, and nothing of anybody else's is removed."""

import json
import os
import stat

import pytest
import torch
from torch import nn

from layers import Budget, compress, frequency_layers, load, make_plan, save, save_frequency_layers
from layers.network import remove_partial, whole, whole_folder, write_tensors, write_text

X = torch.ones(1, 3, 12, 12)


def made():
    """(dense network, plan, compressed network)."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3)).eval()
    plan = make_plan(model, Budget(macs=0.7), example=X)
    return model, plan, compress(model, plan)


def tree(folder):
    """Path -> content of every file, links not followed."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and not p.is_symlink()}


@pytest.fixture(params=[0o022, 0o027])
def umask(request):
    """The umask of the process, while the test runs."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_what_is_written_has_the_permissions_that_the_umask_leaves(umask, tmp_path):
    _, plan, small = made()
    save(small, plan, tmp_path / "new" / "small", X)
    save(small, plan, tmp_path / "new" / "small")
    plan.save(tmp_path / "plan.json")
    write_tensors(small, tmp_path / "dense.safetensors")
    save_frequency_layers(frequency_layers(nn.Sequential(nn.Linear(3, 3)), "dct"), "dct", "all", tmp_path / "f")
    write_text(tmp_path / "plan.json", "again")
    for path in tmp_path.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o777 if path.is_dir() else 0o666) & ~umask, path


def half_written(path):
    """A disk that is full half way."""
    path.write_text("half")
    raise OSError("no room")


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(OSError, match="no room"), whole(path) as temporary:
        half_written(temporary)
    assert tree(tmp_path) == {"a.txt": b"old"}


def test_a_link_stays_a_link_to_the_new_file(tmp_path):
    (tmp_path / "real.txt").write_text("old")
    (tmp_path / "link.txt").symlink_to("real.txt")
    write_text(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_text() == "new"


@pytest.mark.parametrize("there", [False, True])
def test_a_failed_folder_leaves_what_was_there(there, tmp_path):
    folder = tmp_path / "small"
    if there:
        folder.mkdir()
        (folder / "a").write_text("old")
        (folder / "notes").write_text("mine")
    before = sorted(tmp_path.rglob("*")), tree(tmp_path)
    for path in (folder, folder if there else tmp_path / "new" / "newer" / "small"):
        with pytest.raises(OSError, match="no room"), whole_folder(path, ("a", "b")) as temporary:
            half_written(temporary / "a")
        assert (sorted(tmp_path.rglob("*")), tree(tmp_path)) == before


def test_the_files_of_a_killed_writer_are_removed_and_no_others(tmp_path):
    (tmp_path / ".mine").write_text("hidden")
    (tmp_path / ".git").mkdir()
    with whole(tmp_path / "a.txt") as temporary:
        left, name = temporary.read_bytes(), temporary.name
    (tmp_path / name).write_bytes(left)
    (tmp_path / f"{name}-folder").mkdir()
    remove_partial(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".mine", ".git", "a.txt"}


def foreign(folder):
    folder.mkdir()
    (folder / "notes.txt").write_text("years of work")


def alike(folder):
    """A model of somebody else's, whose file has the name of ours."""
    foreign(folder)
    (folder / "model.safetensors").write_bytes(b"theirs")
    (folder / "plan.json").write_text(json.dumps({"version": 1}))


def linked(folder):
    foreign(folder.with_name("other"))
    folder.symlink_to("other")


def a_file(folder):
    folder.write_text("years of work")


@pytest.mark.parametrize("there", [foreign, alike, linked, a_file])
def test_a_folder_that_save_did_not_write_is_refused_and_untouched(there, tmp_path):
    _, plan, small = made()
    there(tmp_path / "small")
    before = tree(tmp_path)
    with pytest.raises(ValueError, match=r"folder must be a folder that is new, empty, or was written by layers.save"):
        save(small, plan, tmp_path / "small", X)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("where", [".", ".."])
def test_the_folder_one_is_in_is_a_folder_as_any_other(where, tmp_path, monkeypatch):
    model, plan, small = made()
    inner = tmp_path / "outer" / "inner"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    if where == ".":
        save(small, plan, where)
        save(small, plan, where)
        assert sorted(tree(inner)) == ["loader.py", "model.safetensors", "plan.json"]
        assert torch.equal(load(where, model)(X), small(X))
        assert sorted(tree(tmp_path)) == [f"outer/inner/{name}" for name in sorted(tree(inner))]
    else:
        with pytest.raises(ValueError, match="folder must be a folder that is new, empty"):
            save(small, plan, where)
        assert not tree(tmp_path)


@pytest.mark.parametrize("link", [False, True])
def test_saving_again_replaces_what_save_wrote_and_keeps_the_rest(link, tmp_path):
    model, plan, small = made()
    folder = tmp_path / "small"
    if link:
        (tmp_path / "elsewhere").mkdir()
        folder.symlink_to("elsewhere")
    save(small, plan, folder, X, preprocessing={"mean": [0.5], "pad": None})
    assert json.loads((folder / "preprocessing.json").read_text()) == {"mean": [0.5], "pad": None}
    (folder / "notes.txt").write_text("years of work")
    (folder / "photos").mkdir()
    (folder / "photos" / "a.jpg").write_text("photo")
    with torch.no_grad():
        next(small.parameters()).zero_()
    save(small, plan, folder)
    assert torch.equal(load(folder, model)(X), small(X))
    assert sorted(tree(folder)) == ["loader.py", "model.safetensors", "notes.txt", "photos/a.jpg", "plan.json"]
    assert folder.is_symlink() == link


def test_a_folder_in_which_a_writer_was_killed_is_as_empty(tmp_path):
    model, plan, small = made()
    (tmp_path / ".partial-1-abc-small").mkdir()
    save(small, plan, tmp_path)
    assert torch.equal(load(tmp_path, model)(X), small(X))


def test_preprocessing_is_plain_values(tmp_path):
    _, plan, small = made()
    for wrong in ({"mean": X}, {"mean": float("nan")}):
        with pytest.raises(ValueError, match="preprocessing must be plain values for JSON, got"):
            save(small, plan, tmp_path / "small", preprocessing=wrong)
    assert not list(tmp_path.iterdir())
    save(small, plan, tmp_path / "small", X, preprocessing={"mean": [0.5]})
    kept = {"preprocessing.json": ""}
    torch.export.load(tmp_path / "small" / "program.pt2", extra_files=kept)
    assert kept["preprocessing.json"] == (tmp_path / "small" / "preprocessing.json").read_text()


def test_a_crash_between_two_files_leaves_no_mixture(tmp_path, monkeypatch):
    model, plan, small = made()
    folder = tmp_path / "small"
    save(small, plan, folder)
    replace = type(folder).replace

    def crash(path, target):
        if target == folder / "loader.py":
            raise OSError("crash")
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(type(folder), "replace", crash)
        with pytest.raises(OSError, match="crash"):
            save(small, plan, folder)
    with pytest.raises(ValueError, match="must be a folder with model"):
        load(folder, model)
    save(small, plan, folder)
    assert torch.equal(load(folder, model)(X), small(X))
