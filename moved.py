"""Old module paths still import: what stood in one flat room before version 0.2 is found where it stands now."""

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MOVED = {  # old path -> new one; what lies below a path moves with it
    "layers.budget": "layers.planning.budget",
    "layers.compress": "layers.planning.compress",
    "layers.plan": "layers.planning.plan",
    "layers.planner": "layers.planning.planner",
    "layers.prune": "layers.thinning.weights",
    "layers.quantise": "layers.thinning.quantise",
    "layers.surgery": "layers.network.surgery",
    "layers.timing": "layers.costs.timing",
    "experiments.batches": "experiments.lab.data.batches",
    "experiments.config": "experiments.lab.config",
    "experiments.data": "experiments.lab.data",
    "experiments.evaluate": "experiments.lab.evaluation.evaluate",
    "experiments.models": "experiments.lab.models",
}


class Finder(MetaPathFinder, Loader):
    """Finds a module by its old path and hands out the one module that there is."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for an old path, None for any other."""
        return ModuleSpec(fullname, self) if new_path(fullname) else None

    def exec_module(self, module: ModuleType) -> None:
        """Put the module at the new path in the place of the empty one."""
        path = new_path(module.__name__)
        assert path is not None
        sys.modules[module.__name__] = importlib.import_module(path)


def new_path(old: str) -> str | None:
    """Return where the module of an old path stands now; None if the path is not an old one."""
    for path, now in MOVED.items():
        if old == path or old.startswith(f"{path}."):
            return now + old.removeprefix(path)
    return None


def enter_namesakes(package: str) -> None:
    """Enter now the modules at old paths that share their name with something that the package hands out.

    Importing `layers.compress` later would put the module in the place of the function `layers.compress`.
    """
    for old, now in MOVED.items():
        parent, _, name = old.rpartition(".")
        if parent == package and hasattr(sys.modules[package], name):
            sys.modules[old] = importlib.import_module(now)


sys.meta_path.insert(0, Finder())
