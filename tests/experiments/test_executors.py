"""Layers are judged by processes or by jobs; a worker that died, a Slurm that is not there, what is kept of a plan."""

import os
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from networks import three_layers

from experiments.lab.evaluation import hands
from experiments.lab.evaluation.hands import Hands, Jobs
from experiments.lab.refusals import check_slurm
from experiments.lab.steps.kernel import Kernel

pytestmark = [  # submitit leaves the logs of its jobs open
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
KERNEL = replace(Kernel.within(None, "auto"), of=("svd", "tucker"))


@pytest.fixture(scope="module")
def case():
    return three_layers()


def test_jobs_in_this_process_make_the_same_plan(case, tmp_path, monkeypatch):
    monkeypatch.setattr(hands, "Jobs", lambda cluster, folder: Jobs("debug", folder))
    assert KERNEL.plan(*case, Hands("slurm", tmp_path)) == KERNEL.plan(*case)
    assert len(list(tmp_path.glob("*.json"))) == 3


def test_a_job_of_this_machine_answers_and_one_that_dies_is_broken(tmp_path):
    pool = Jobs("local", tmp_path)
    answer, dead = pool.submit(os.getpid), pool.submit(os._exit, 3)
    assert answer.result() != os.getpid()
    with pytest.raises(BrokenExecutor):
        dead.result()


def test_a_slurm_that_is_not_there_is_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="executor must be auto, threads or processes on a machine without Slurm's"):
        check_slurm("slurm")
    check_slurm("processes")


def test_large_networks_go_to_processes_and_small_ones_to_threads(case, monkeypatch):
    with Hands("auto").at_work(case[0]) as executor:
        assert executor is None
    monkeypatch.setattr(hands, "PAYS", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with Hands("auto").at_work(case[0]) as executor:  # none is started before it has work
        assert executor is not None
    with Hands("threads").at_work(case[0]) as executor:
        assert executor is None


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from torch import nn
from layers import Budget, make_plan

torch.manual_seed(0)
net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.Flatten(), nn.Linear(192, 5))
done = []
def progress(name):
    done.append(name)
    if sys.argv[2] == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
torch.set_num_threads(1)
kept = len(list(Path(sys.argv[1]).glob("*.json")))
plan = make_plan(net, Budget(params=0.5), ("svd", "tucker"), example=torch.zeros(1, 3, 8, 8), cache=Path(sys.argv[1]),
                 progress=progress)
print(kept, [row.spec for row in plan.layers])
"""


def test_planning_that_was_killed_goes_on_with_what_was_judged(tmp_path):
    def run(how):
        command = [sys.executable, "-c", KILLED, str(tmp_path), how]
        return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)

    assert run("killed").returncode == -signal.SIGKILL
    assert list(tmp_path.glob("*.json"))
    whole = run("whole")
    kept, plan = whole.stdout.split(maxsplit=1)
    assert int(kept) >= 1
    for path in tmp_path.iterdir():
        path.unlink()
    assert run("whole").stdout.split(maxsplit=1) == ["0", plan]
