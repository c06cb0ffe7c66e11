"""Scripts written for the flat rooms of version 0.1 find their modules, and find the very same ones."""

import importlib
import subprocess
import sys

import pytest

import moved


@pytest.mark.parametrize("old", [*moved.MOVED, "experiments.data.images", "experiments.models.weights"])
def test_an_old_path_is_the_module_at_the_new_one(old):
    assert importlib.import_module(old) is importlib.import_module(moved.new_path(old))


def test_a_fresh_process_finds_it_through_either_package():
    program = (
        "import sys; from experiments.config import Config; from layers.prune import masks; print(masks.__module__)"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout == "layers.thinning.weights\n"


def test_a_function_is_not_hidden_by_the_old_path_of_its_name():
    """For every name that the library hands out, whichever is imported first."""
    program = "import importlib, moved, layers; face = {n: getattr(layers, n) for n in dir(layers)}; "
    program += "[importlib.import_module(old) for old in moved.MOVED]; import layers.compress; "
    program += "from layers.compress import compress; assert compress is layers.compress; "
    program += "assert all(getattr(layers, n) is value for n, value in face.items())"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("name", ["layers.prunes", "layers.thinning.weights", "experiments.run", "budget"])
def test_no_other_name_is_an_old_path(name):
    assert moved.new_path(name) is None
