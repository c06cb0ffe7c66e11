"""The command in several processes, started by itself, torchrun or Slurm: one run, or one sentence from them all."""

import json
import os
import re
import socket
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from processes import free_port, two

from experiments.lab.config import Training
from experiments.lab.models.lenet import LeNet
from experiments.lab.training.distributed import check_launch
from experiments.run.__main__ import main

ROOT = Path(__file__).parents[2]
TWO = "--no-track --devices 2 --accelerator cpu --max-epochs 1 --finetune-epochs 1 --kernel svd --batch-size 32 --rep"


def command(*arguments, **variables):
    return subprocess.run(
        [sys.executable, "-m", "experiments.run", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", **variables},
        timeout=240,
    )


def test_a_port_in_use_is_refused(tmp_path, monkeypatch, capsys):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        monkeypatch.setenv("MASTER_PORT", str(taken.getsockname()[1]))
        assert main([*TWO.split(), "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "error: MASTER_PORT must be a free port" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


TORCHRUN = {"RANK": 0, "GROUP_RANK": 0, "LOCAL_RANK": 0, "WORLD_SIZE": 3, "LOCAL_WORLD_SIZE": 3}
LAUNCHERS = {
    "torchrun": {**TORCHRUN, "TORCHELASTIC_RUN_ID": "test"},
    "Slurm": {"SLURM_NTASKS": 3, "SLURM_PROCID": 0, "SLURM_LOCALID": 0, "SLURM_NODEID": 0, "SLURM_JOB_NAME": "test"},
}
LAUNCHERS["Slurm"]["SLURM_NTASKS_PER_NODE"] = 3


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_another_number_of_processes_than_was_started_is_refused(launcher, tmp_path, monkeypatch, capsys):
    for name, value in LAUNCHERS[launcher].items():
        monkeypatch.setenv(name, str(value))
    assert main([*TWO.split(), "--out", str(tmp_path)]) == 2
    assert f"devices x nodes must be the 3 processes that {launcher} started, got 2" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_tasks_of_slurm_that_no_node_is_told_of_are_refused(tmp_path, monkeypatch, capsys):
    for name, value in LAUNCHERS["Slurm"].items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE")
    assert main([*TWO.split(), "--out", str(tmp_path)]) == 2
    assert capsys.readouterr().err == "error: srun must be given --ntasks-per-node, got '--ntasks'\n"


@pytest.mark.parametrize(("number", "refused"), [(0, True), (1, False)])
def test_only_the_task_of_slurm_that_listens_needs_the_port(number, refused, monkeypatch):
    """The first task may be listening already when another one starts."""
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        job = LAUNCHERS["Slurm"] | {"MASTER_PORT": taken.getsockname()[1], "SLURM_PROCID": number}
        for name, value in job.items():
            monkeypatch.setenv(name, str(value))
        with pytest.raises(ValueError, match="MASTER_PORT must be a free port") if refused else nullcontext():
            check_launch(Training(devices=3, accelerator="cpu"), "cpu")


def task_of_slurm(number, port, out):
    """The command as one of two tasks on one node, with what `srun` sets."""
    job = {"JOB_ID": port, "JOB_NAME": "test", "NTASKS": 2, "NTASKS_PER_NODE": 2, "NODELIST": "localhost", "NODEID": 0}
    for name, value in {**job, "PROCID": number, "LOCALID": number}.items():
        os.environ[f"SLURM_{name}"] = str(value)
    os.environ["MASTER_PORT"] = str(port)
    torch.set_num_threads(1)
    with (out / f"{number}.out").open("w") as sys.stdout:
        status = main([*TWO.split(), "--nodes", "1", "--out", str(out / "runs")])
        sys.stdout.flush()
    os._exit(status)  # the interpreter would write to the closed file


@pytest.mark.slow
def test_two_tasks_of_slurm_make_one_run(tmp_path):
    assert two(task_of_slurm, free_port(), tmp_path) == [0, 0]
    said = [(tmp_path / f"{number}.out").read_text() for number in range(2)]
    assert [text.count("report:") for text in said] == [1, 0]
    (folder,) = (tmp_path / "runs").iterdir()
    results = json.loads((folder / "results.json").read_text())
    assert [row["network"] for row in results["rows"]] == ["dense", "svd"]


def make_spoilt(classes, channels):
    """LeNet that one process of two cannot train: SPOILT is `nan` in its third step, or a `failure` in its first."""

    class Spoilt(LeNet):
        steps = 0

        def forward(self, x):
            self.steps += self.training
            y, why = super().forward(x), os.environ["SPOILT"]
            if not self.training or os.environ.get("LOCAL_RANK") != "1":
                return y
            if why == "failure":
                raise KeyError("no such layer")
            return y * float("nan") if self.steps == 3 else y

    return Spoilt(classes, channels)


SPOILT = f"{TWO} --model test_launches:make_spoilt --out"
SAID = {
    "nan": r"error: loss must be finite, got nan at step 3: try a lower --lr, --clip 1, or --precision 32",
    "failure": r"error: model must train on a first batch of 32x1x32x32, got KeyError: 'no such layer' at .*",
}


def spoilt_run(number, port, out):
    """The command in one of two processes that something else has started, as torchrun or Slurm does."""
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(number), WORLD_SIZE="2")
    os.environ["SPOILT"] = "nan"
    torch.set_num_threads(1)
    with (out / f"{number}.err").open("w") as errors:
        sys.stderr = errors
        status = main([*SPOILT.split(), str(out / "runs")])
    sys.exit(status)


def test_a_loss_of_nan_in_one_process_stops_them_all_and_is_said_once(tmp_path):
    assert two(spoilt_run, free_port(), tmp_path) == [2, 2]
    said = [(tmp_path / f"{number}.err").read_text().strip().splitlines() for number in range(2)]
    assert re.fullmatch(SAID["nan"], said[0][-1])
    assert not [line for line in said[1] if "error" in line]
    assert not list(tmp_path.rglob("*.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("why", SAID)
def test_what_one_process_meets_ends_the_command_with_2_and_one_sentence(why, tmp_path):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "experiments"), str(ROOT / "tests" / "support")])
    done = command(*SPOILT.split(), str(tmp_path), PYTHONPATH=path, SPOILT=why)
    errors = [line for line in done.stderr.splitlines() if "error" in line.lower()]
    assert len(errors) == 1, done.stderr
    assert re.fullmatch(SAID[why], errors[0])
    assert done.returncode == 2


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["ours", "torchrun"])
def test_the_whole_run_in_two_processes(launcher, tmp_path):
    if launcher == "ours":
        done = command(*TWO.split(), "--out", str(tmp_path))
    else:
        start = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port"]
        arguments = [*start, str(free_port()), "-m", "experiments.run", *TWO.split(), "--out", str(tmp_path)]
        done = subprocess.run(arguments, capture_output=True, text=True, cwd=ROOT, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report:") == 1  # of the first process alone
    (folder,) = tmp_path.iterdir()
    rows = json.loads((folder / "results.json").read_text())["rows"]
    assert [row["network"] for row in rows] == ["dense", "svd"]


@pytest.mark.slow
def test_a_port_taken_after_the_launch_ends_every_process(tmp_path):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = command(*TWO.split(), "--out", str(tmp_path), LOCAL_RANK="0", MASTER_PORT=port, MASTER_ADDR="127.0.0.1")
    assert done.returncode == 2
    assert "MASTER_ADDR and MASTER_PORT must be free to meet at" in done.stderr
