"""Layers are judged by processes or by jobs; a worker that died, a Slurm that is not there, what is kept of a plan."""

import os
import signal
import time
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from kills import exit_code
from networks import three_layers
from torch import nn

from experiments.lab.evaluation import hands
from experiments.lab.evaluation.hands import Hands, Jobs
from experiments.lab.refusals import check_slurm
from experiments.lab.steps.kernel import Kernel
from layers import Budget, make_plan
from layers.network import ignored

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


def test_a_job_of_this_machine_answers_and_one_that_dies_is_broken(tmp_path, monkeypatch):
    quick = SimpleNamespace(time=lambda: 20 * time.time(), sleep=lambda seconds: time.sleep(seconds / 20))
    monkeypatch.setattr("submitit.core.core._time", quick)  # it waits 15 s for the answer of a job that has ended
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


def planned(cache, progress):
    """A plan of a small network; what is judged of its layers is kept in `cache`."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 12, 3), nn.Flatten(), nn.Linear(192, 5))
    x = torch.zeros(1, 3, 8, 8)
    return make_plan(net, Budget(params=0.5), ("svd", "tucker"), example=x, cache=cache, progress=progress)


def killed_planning(cache):
    torch.set_num_threads(1)  # as here
    planned(cache, lambda name: os.kill(os.getpid(), signal.SIGKILL))


def test_planning_that_was_killed_goes_on_with_what_was_judged(tmp_path):
    cache, fresh = tmp_path / "killed", tmp_path / "fresh"
    assert exit_code(killed_planning, cache) == -signal.SIGKILL
    assert list(cache.glob("*.json"))
    plan = planned(cache, ignored)
    assert [row.spec for row in plan.layers] == [row.spec for row in planned(fresh, ignored).layers]
