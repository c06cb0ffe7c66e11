"""The loader that `save` wrote into a folder, imported from there."""

import importlib.util


def loader(folder):
    """The `load` that was written into the folder."""
    spec = importlib.util.spec_from_file_location("loader_of_a_test", folder / "loader.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load
