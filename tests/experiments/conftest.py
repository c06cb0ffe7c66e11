"""What verbs keep of judged layers is each test's own: what another one kept would hide what this one changes."""

import pytest

from experiments.lab.evaluation import hands


@pytest.fixture(autouse=True)
def judged_layers(tmp_path_factory, monkeypatch):
    """Keep judged layers in a folder of the test, in this process."""
    monkeypatch.setattr(hands, "cache_file", lambda: tmp_path_factory.mktemp("cache") / "latency.json")
