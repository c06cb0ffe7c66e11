"""The arrows of the architecture, checked: who may import whom, and which third parties."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONTRACT = {"contract", "checks", "trees"}
MAY = {  # package -> (our packages, third parties)
    "contract": (set(), set()),
    "checks": ({"contract"}, set()),
    "trees": ({"contract", "checks"}, set()),
    "stage1_scipy": (CONTRACT, {"numpy", "scipy", "pywt"}),
    "stage2_numpy": (CONTRACT, {"numpy"}),
    "stage3_torch": (CONTRACT | {"stage2_numpy"}, {"torch"}),
    "layers": (CONTRACT | {"stage3_torch"}, {"torch", "torch_pruning", "safetensors", "pandas"}),  # pandas: to_frame
    "experiments": (
        CONTRACT | {"stage1_scipy", "stage2_numpy", "stage3_torch", "layers"},
        {"torch", "torchvision", "numpy", "sklearn", "lightning", "tyro", "rich", "pandas", "plotly", "safetensors"}
        | {"matplotlib", "PIL", "braceexpand", "optuna", "sqlalchemy", "mlflow"}
        | {"scipy", "pywt", "torch_dct", "tensorly", "onnxruntime"},  # what the speed table measures against
    ),
}
OURS = {*MAY, "tests", "thesis"}


def imported(path):
    """(line, top-level name) of every import in a file, late ones included."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.lineno, node.module.split(".")[0]


@pytest.mark.parametrize("package", MAY)
def test_arrows(package):
    ours, third = MAY[package]
    files = [file] if (file := ROOT / f"{package}.py").exists() else sorted((ROOT / package).rglob("*.py"))
    assert files
    for path in files:
        for line, name in imported(path):
            if name == package or name in sys.stdlib_module_names:
                continue
            assert name in (ours if name in OURS else third), f"{path.name}:{line}: {package} imports {name}"
