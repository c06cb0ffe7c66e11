"""A clone without runs builds the thesis to the same bytes."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def clone(folder):
    """A copy of what git has, or would have, of the project: no run, and nothing that was built."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", ":!tests"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)


def test_the_thesis_of_a_clone_without_runs_has_the_same_bytes(tmp_path):
    spec = importlib.util.spec_from_file_location("build_thesis", ROOT / "thesis" / "build.py")
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    there = tmp_path / "clone"
    clone(there)
    apart = {"cwd": there, "env": {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}}
    subprocess.run([sys.executable, "thesis/build.py"], **apart, capture_output=True, check=True)
    for one in build.build(tmp_path / "here"):
        assert one.read_bytes() == (there / "thesis" / one.name).read_bytes()
