"""The arrows of the architecture, checked: who may import whom, which third parties, and how full a room may be."""

import ast
import graphlib
import sys
from pathlib import Path

import pytest

from experiments.__main__ import ALIASES

ROOT = Path(__file__).parents[1]
CONTRACT = {"contract", "checks", "trees"}
MAY = {  # package -> (our packages, third parties)
    "contract": (set(), set()),
    "checks": ({"contract"}, set()),
    "trees": ({"contract", "checks"}, set()),
    "moved": (set(), set()),
    "arrays": (CONTRACT, {"numpy"}),
    "stage1_scipy": (CONTRACT | {"arrays"}, {"numpy", "scipy", "pywt"}),
    "stage2_numpy": (CONTRACT | {"arrays"}, {"numpy"}),
    "stage3_torch": (CONTRACT | {"stage2_numpy"}, {"torch"}),
    "layers": (
        CONTRACT | {"moved", "stage3_torch"},
        {"torch", "torch_pruning", "safetensors", "pandas", "numpy", "onnx", "onnxruntime", "brotli"},
    ),  # pandas: to_frame; numpy, onnx, onnxruntime: files of 8 bits, and what runs them; brotli: over a network's file
    "experiments": (
        CONTRACT | {"moved", "stage1_scipy", "stage2_numpy", "stage3_torch", "layers"},
        {
            "torch",
            "torchvision",
            "numpy",
            "sklearn",
            "lightning",
            "lightning_utilities",
            "tyro",
            "rich",
            "pandas",
            "plotly",
            "safetensors",
        }
        | {"matplotlib", "PIL", "braceexpand", "optuna", "sqlalchemy", "mlflow", "submitit"}
        | {"jinja2", "markupsafe", "onnx"}  # the pages, and what of a graph the inspector colours
        | {"scipy", "pywt", "torch_dct", "tensorly", "onnxruntime"},  # what the speed table measures against
    ),
}
OURS = {*MAY, "tests", "thesis"}
# Each room may import from the rooms after it, never from those before.
LAYERS = [
    "shrinking",
    "checkpoint",
    "planning",
    "fitting",
    "thinning",  # asks costs what a channel saves; fitting asks it which outputs are left
    "factored",
    "costs",
    "frequency",
    "coded",
    "calibration",
    "network",
    "loader",
]
LAB = [
    "command",
    "results",
    "recipes",
    "steps",
    "evaluation",
    "training",
    "runs",
    "data",
    "models",
    "trials",
    "reporting",
    "refusals",
    "progress",
    "config",
]
# the most files and folders in a room; more in those that hold rooms: a verb each, a table each in bench, and `shrink`
# above all of layers; and in planning, where which ranks are fast in a runtime is a question of its own
ENTRIES = 12
OF_ROOMS = {"layers": 13, "layers/planning": 13, "experiments": 18, "experiments/bench": 13}
OF_ROOMS |= {"experiments/lab": 15, "experiments/lab/training": 13}


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


def module_of(path):
    """The parts of a file's module: layers/costs/__init__.py is ("layers", "costs")."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


MODULES = {module_of(path): path for package in ("layers", "experiments") for path in (ROOT / package).rglob("*.py")}


def ours_imported(module):
    """(line, module) of every module of layers/ and experiments/ that a module imports, late imports included."""
    path = MODULES[module]
    package = module if path.name == "__init__.py" else module[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            parts = tuple(node.module.split(".")) if node.module else ()
            source = package[: len(package) - node.level + 1] + parts if node.level else parts
            for alias in node.names:
                target = (*source, alias.name) if (*source, alias.name) in MODULES else source
                if target in MODULES and target != module:
                    yield node.lineno, target


def below(rooms, source, target):
    """Whether an arrow from one of the rooms to another goes down the list."""
    return rooms.index(source) < rooms.index(target)


def test_the_lists_name_every_room():
    assert {module[1] for module in MODULES if module[0] == "layers" and len(module) > 1} == set(LAYERS)
    assert {module[2] for module in MODULES if module[:2] == ("experiments", "lab") and len(module) > 2} == set(LAB)


def test_the_rooms_of_layers_import_only_what_is_below():
    for module in MODULES:
        if module[0] == "layers" and len(module) > 1 and module != ("layers", "loader"):
            for line, target in ours_imported(module):
                inside = target[0] == "layers" and len(target) > 1
                assert inside, f"{'.'.join(module)}:{line} imports the face of the whole package"
                same = module[1] == target[1]
                assert same or below(LAYERS, module[1], target[1]), f"{'.'.join(module)}:{line} looks up"


def test_the_loader_imports_nothing_of_ours():
    assert not list(ours_imported(("layers", "loader")))


def test_no_verb_imports_another_and_the_lab_imports_none():
    for module in MODULES:
        if module[0] == "experiments" and len(module) > 1 and module[1] != "__main__":
            for line, target in ours_imported(module):
                if target[0] == "experiments" and len(target) > 1 and target[1] != module[1]:
                    alias = module[1] in ALIASES
                    assert alias or target[1] == "lab", f"{'.'.join(module)}:{line} imports the verb {target[1]}"


def test_the_rooms_of_the_lab_import_only_what_is_below():
    for module in MODULES:
        if module[:2] == ("experiments", "lab") and len(module) > 2:
            for line, target in ours_imported(module):
                if target[:2] == module[:2] and len(target) > 2 and module[2] != target[2]:
                    assert below(LAB, module[2], target[2]), f"{'.'.join(module)}:{line} looks up"


def test_no_circle_among_files():
    arrows = {module: {target for _, target in ours_imported(module)} for module in MODULES}
    order = list(graphlib.TopologicalSorter(arrows).static_order())  # CycleError names the circle
    assert set(order) == set(MODULES)


def test_no_room_is_crowded():
    paths = MODULES.values()
    for room in {path.parent for path in paths}:
        entries = {path.relative_to(room).parts[0] for path in paths if path.is_relative_to(room)}
        most = OF_ROOMS.get(room.relative_to(ROOT).as_posix(), ENTRIES)
        assert len(entries) <= most, f"{room.relative_to(ROOT)} holds {len(entries)}: {sorted(entries)}"
