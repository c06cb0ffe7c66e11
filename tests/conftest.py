"""Hypothesis profiles: `dev` by default, HYPOTHESIS_PROFILE=ci for the long, derandomised run; a machine offline."""

import gc
import os
import urllib.error
import urllib.request

# before numpy and torch are loaded, here and in the processes that tests start: these fill the cores already, and where
# threads wait for each other all takes several times as long
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from browser import launched
from hypothesis import settings

gc.disable()  # collecting tests imports all there is, which stays: looking through it for rubbish takes seconds

collect_ignore = ["support", "layers/saved"]  # helpers and data: nothing in them is an example to run

settings.register_profile("dev", max_examples=30, deadline=None, derandomize=True)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dev"))

pytest.register_assert_rewrite("refusals", "kills", "compiled")  # so that what fails there says so in full
torch.set_num_threads(1)  # the test processes already fill the cores


def pytest_collection_finish():
    """From here on only what tests make is looked through."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure():
    gc.unfreeze()  # libraries complain at the end of what was not taken apart


@pytest.fixture(scope="module")
def chromium():
    """A browser for the pages of a file; without one its tests are skipped."""
    with launched() as browser:
        yield browser


@pytest.fixture
def no_network(monkeypatch):
    """Downloads fail at once, whatever the machine could reach."""

    def refuse(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
