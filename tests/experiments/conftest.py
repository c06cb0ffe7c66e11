"""What verbs keep of judged layers is each test's own: what another one kept would hide what this one changes."""

import pytest
from kills import pack_fast

from experiments.lab.evaluation import evaluate, hands


@pytest.fixture(autouse=True, scope="package")
def packed_fast():
    """Count compressed bytes by a brotli that is quick, here and in processes that are killed."""
    with pytest.MonkeyPatch.context() as patch:
        pack_fast(patch.setattr)
        yield


@pytest.fixture(autouse=True, scope="package")
def timed_shortly():
    """Time networks in five rounds instead of thirty: no test of a run asks how fast a network is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate.latencies, "__defaults__", (5,))
        yield


@pytest.fixture(autouse=True)
def judged_layers(tmp_path_factory, monkeypatch):
    """Keep judged layers in a folder of the test, in this process."""
    monkeypatch.setattr(hands, "cache_file", lambda: tmp_path_factory.mktemp("cache") / "latency.json")
