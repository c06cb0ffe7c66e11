"""Two processes on a CPU: the steps of one process with the doubled batch, every image evaluated exactly once."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from processes import free_port, two
from torch import nn

from experiments import distributed
from experiments.batches import Batches
from experiments.config import Training
from experiments.data import Dataset, Split
from experiments.models.lenet import LeNet
from experiments.run import main
from experiments.train import train

ROOT = Path(__file__).parents[1]
SEEN = []  # the numbers of the images that this process has evaluated


class Numbered(nn.Module):
    """LeNet in float64, so that nothing but a wrong gradient can tell two runs apart; notes what it evaluates."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = LeNet().double()

    def forward(self, images):
        if not self.training:
            SEEN.extend((images[:, 0, 0, 0] * 255).round().long().tolist())
        return self.net(images.double())


def dataset(images):
    """Noise without augmentation; the first pixel of a validation image is its number."""
    draw = torch.Generator().manual_seed(1)
    pixels = torch.randint(256, (images, 1, 32, 32), generator=draw).to(torch.uint8)
    labels = torch.randint(10, (images,), generator=draw)
    train, val = Split(pixels, labels), Split(pixels[:77].clone(), labels[:77])
    val.images[:, 0, 0, 0] = torch.arange(77)
    names = [str(digit) for digit in range(10)]
    return Dataset(lambda: train, lambda: val, lambda: val, names, (0.0,), (1.0,), 1, shift=0, flip=False)


def twenty_steps(images, batch, devices):
    """(weights, validation accuracy, what was evaluated) after an epoch of 20 steps."""
    config = Training(
        optimizer="sgd", schedule="constant", clip=1.0, ema=0.5, devices=devices, accelerator="cpu", rep=True
    )
    SEEN.clear()
    with distributed.processes(config, "cpu"):
        model = Numbered()
        val = train(model, dataset(images), config, epochs=1, lr=0.05, batch_size=batch, seed=0)
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}, val, list(SEEN)


class Normed(nn.Module):
    """One BatchNorm in float64; `moments` of what enters it are what its statistics must be."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm, self.out = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 10)
        self.double()

    def forward(self, images):
        return self.out(self.norm(self.conv(images.double())).relu().mean((2, 3)))

    def moments(self, images):
        y = self.conv(images.double() / 255).detach().transpose(0, 1).flatten(1)
        return y.mean(1), y.var(1)


def measured_anew():
    """A network whose BatchNorm statistics two processes have measured on 44 images each."""
    config = Training(optimizer="sgd", batchnorm="reestimate", devices=2, accelerator="cpu", rep=True)
    with distributed.processes(config, "cpu"):
        model = Normed()
        train(model, dataset(88), config, epochs=2, lr=0.05, batch_size=44, seed=0)
    return model.state_dict()


def member(number, port, out, images):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(number), WORLD_SIZE="2")
    torch.set_num_threads(1)
    torch.save((twenty_steps(images, 8, devices=2), measured_anew()), out / f"{number}.pt")


@pytest.fixture(scope="module", params=[20 * 16, 20 * 16 - 5], ids=["even", "a last batch of 11"])
def both(request, tmp_path_factory):
    """(what two processes end with, what one with the doubled batch ends with)."""
    out = tmp_path_factory.mktemp("two")
    assert two(member, free_port(), out, request.param) == [0, 0]
    pair, normed = zip(*(torch.load(out / f"{number}.pt") for number in range(2)))
    return pair, twenty_steps(request.param, 16, devices=1), normed


def test_two_processes_take_the_steps_of_one_with_the_doubled_batch(both):
    pair, (alone, val, _), _ = both
    before = Numbered().state_dict()
    for weights, accuracy, _ in pair:
        assert accuracy == val
        for name, tensor in alone.items():
            assert (tensor - weights[name]).abs().max() <= 1e-6
            assert (tensor - before[name]).abs().max() > 1e-4  # it has moved at all


def test_every_image_is_evaluated_exactly_once(both):
    pair, _, _ = both
    shares = [seen for _, _, seen in pair]
    assert sorted(shares[0] + shares[1]) == list(range(77))
    assert abs(len(shares[0]) - len(shares[1])) <= 1


def test_batchnorm_statistics_measured_anew_are_those_of_all_images(both):
    for weights in both[2]:
        model = Normed()
        model.load_state_dict(weights)
        mean, var = model.moments(dataset(88).train().images)
        torch.testing.assert_close(model.norm.running_mean, mean, rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(model.norm.running_var, var, rtol=1e-3, atol=0)  # n - 1 of each half


@pytest.mark.parametrize("world", [1, 2, 3])
@pytest.mark.parametrize("images", [3, 16, 47, 48, 49, 53])
def test_the_processes_share_an_epoch_without_loss_or_repeat(world, images):
    source = dataset(77)
    numbered = Split(torch.arange(images, dtype=torch.uint8)[:, None, None, None], torch.arange(images))
    parts = [Batches(numbered, source, 8, train=True, seed=3, rank=r, world=world) for r in range(world)]
    for part in parts:
        part.epoch = 5
    batches = [[labels.tolist() for _, labels in part] for part in parts]
    assert len({len(part) for part in batches} | {len(part) for part in parts}) == 1  # gradients need every process
    assert sorted(i for part in batches for batch in part for i in batch) == list(range(images))
    assert all(batch for part in batches for batch in part)
    again = Batches(numbered, source, 8, train=True, seed=3, world=world)
    again.epoch = 5
    assert [labels.tolist() for _, labels in again] == batches[0]


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


TWO = "--no-track --devices 2 --accelerator cpu --max-epochs 1 --finetune-epochs 1 --kernel svd --batch-size 32 --rep"


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
    assert [row["kernel"] for row in results["rows"]] == ["dense", "svd"]


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


SPOILT = f"{TWO} --model test_distributed:make_spoilt --out"
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
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
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
    assert [row["kernel"] for row in rows] == ["dense", "svd"]


@pytest.mark.slow
def test_a_port_taken_after_the_launch_ends_every_process(tmp_path):
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = command(*TWO.split(), "--out", str(tmp_path), LOCAL_RANK="0", MASTER_PORT=port, MASTER_ADDR="127.0.0.1")
    assert done.returncode == 2
    assert "MASTER_ADDR and MASTER_PORT must be free to meet at" in done.stderr
