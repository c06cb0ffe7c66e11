"""Deliberate faults: each is planted in a copy of the kernels, and some test must notice.

`python -m pytest -m mutants`; a survivor is a hole in the tests.
"""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = ("arrays.py", "contract.py", "checks.py", "moved.py", "trees.py")
ROOMS = ("transforms", "tucker_cp", "svd_ht_ranks")
FAULTS = [fault for room in ROOMS for fault in importlib.import_module(f"mutants.{room}").MUTANTS]
# file -> the test files of its room and the kernels that depend on it; the others cannot notice
TESTS = {
    "fourier": "dct or dst or dft or dht or fourier",
    "wavelet": "dwt or shannon or wavelet",
    "filters": "dwt or wavelet",
    "coiflets": "dwt or wavelet",
    "tables": "dct or dst or dft or dht or dwt or shannon or fourier or wavelet",
    "svd": "svd",
    "hierarchical_tucker": "ht or hierarchical",
    "trees": "ht or hierarchical",
    "ranks": "ranks",
    "tucker": "tucker",
    "cp": "cp",
}


def test_there_are_faults_in_every_stage_and_each_is_where_it_says():
    assert len(FAULTS) >= 20
    for stage in ("stage1_scipy", "stage2_numpy", "stage3_torch"):
        assert sum(path.startswith(stage) for path, _, _ in FAULTS) >= 5
    for path, old, new in FAULTS:
        assert old in (ROOT / path).read_text(encoding="utf-8"), f"{path} has no {old!r}"
        assert old != new


@pytest.mark.mutants
@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_every_fault_is_noticed(number, tmp_path):
    path, old, new = FAULTS[number]
    for name in (*MODULES, "stage1_scipy", "stage2_numpy", "stage3_torch", "layers"):
        copy = shutil.copy if (ROOT / name).is_file() else shutil.copytree
        copy(ROOT / name, tmp_path / name)
    shutil.copytree(ROOT / "tests", tmp_path / "tests")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    text = (tmp_path / path).read_text(encoding="utf-8")
    (tmp_path / path).write_text(text.replace(old, new, 1), encoding="utf-8")
    stem = Path(path).stem
    words = TESTS.get(stem, " or ".join(TESTS.values()))  # a shared helper concerns every kernel
    files = [
        "tests/kernels/test_contract.py",
        *(f"tests/kernels/test_{name}.py" for name in TESTS if (ROOT / f"tests/kernels/test_{name}.py").exists()),
    ]
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:xdist", "-p", "no:cacheprovider"]
    options = ["-o", "addopts=", "-q", "-k", f"({words}) and not compile", *files]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    run = subprocess.run(
        [*command, *options], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert run.returncode == 1, f"{path}: {old!r} -> {new!r} was not noticed\n{run.stdout[-500:]}"
