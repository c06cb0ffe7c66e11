"""Every kernel and kind of layer on a card that is not there: a tensor on the wrong device fails without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import fake_card
import pytest

PATHS = os.pathsep.join([str(fake_card.ROOT), str(Path(fake_card.__file__).parent)])

# What a GPU would wait for, per function of ours, of one call each: two batches of four images through two layers for
# calibrate, of which some wait for a second pass; one layer for refit.  Once a layer or once a batch; never in a loop
# over steps or positions.
READS = {
    "calibrate": {
        "layers/calibration/calibrate.py:<genexpr>": 12,  # are the moments finite: each of them, of each layer
        "layers/calibration/calibrate.py:calibrate": 2,  # did the images that waited show anything: each layer
        "layers/calibration/observer.py:_add_gradients": 4,  # the classes to draw labels from: each batch and draw
        "layers/calibration/observer.py:_log_probabilities": 3,  # are the scores finite: each batch
        "layers/calibration/observer.py:add": 6,  # are the inputs: each layer and batch
        "layers/network/refusals.py:check_numbers": 6,  # are the weights: each tensor of the network
    },
    "refit": {
        "layers/calibration/shrinkage.py:root": 4,  # did Cholesky fail
        "layers/fitting/fit.py:fit": 2,  # L-BFGS asks for the loss
    },
}


@pytest.fixture(scope="module")
def outcomes():
    """Of every case, in one process of its own: torch takes such a card for good."""
    command = [sys.executable, "-W", "ignore", fake_card.__file__]
    environment = {**os.environ, "PYTHONPATH": PATHS}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("case", fake_card.CASES)
def test_runs_on_one_device_and_reads_nothing_back_unasked(case, outcomes):
    assert outcomes[case] == {"reads": READS.get(case, {})}


@pytest.mark.parametrize("fault", fake_card.PLANTED)
def test_a_tensor_on_the_wrong_device_is_noticed(fault, outcomes):
    assert "DeviceMismatch" in outcomes[f"planted: {fault}"]["error"]
