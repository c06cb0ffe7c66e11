"""Training with the network's weights shared out (`--strategy fsdp`): the steps of one process, whole weights kept.

The library shards on a CPU too if told to; Lightning and the command line allow it on GPUs only.  So the two processes
here are told what a machine with GPUs tells by itself, and all else is as it is there.
"""

import os

import pytest
import torch
from lightning import Callback
from lightning.pytorch.strategies import FSDPStrategy
from processes import free_port, two
from test_distributed import SEEN, Numbered, dataset
from torch.distributed.fsdp import FullyShardedDataParallel

from experiments.lab.config import Training
from experiments.lab.training import distributed, trainer
from experiments.lab.training.train import train
from experiments.lab.training.trainer import make_trainer


class Single(Numbered):
    """In float32, to which this strategy casts."""

    def __init__(self):
        super().__init__()
        self.net.float()

    def forward(self, images):
        if not self.training:
            SEEN.extend((images[:, 0, 0, 0] * 255).round().long().tolist())
        return self.net(images)


class OnCpu(FSDPStrategy):
    """Not the class that Lightning refuses on a CPU."""


class Held(Callback):
    """Numbers that this process keeps of the weights."""

    def on_train_start(self, trainer, module):
        shards = [p for p in trainer.model.parameters() if p.numel()]
        self.numbers, self.wrapped = sum(p.numel() for p in shards), isinstance(trainer.model, FullyShardedDataParallel)


def fit(strategy, devices, batch):
    """(weights, validation accuracy, images evaluated, numbers held) after 20 steps."""
    config = Training(optimizer="sgd", schedule="constant", clip=0.1, devices=devices, strategy=strategy, rep=True)
    config, held = Training(**{**vars(config), "accelerator": "cpu"}), Held()
    SEEN.clear()
    with distributed.processes(config, "cpu"):
        model = Single()
        val = train(model, dataset(320), config, epochs=1, lr=0.5, batch_size=batch, seed=0, callbacks=[held])
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    return weights, val, list(SEEN), (held.numbers, held.wrapped)


def member(number, port, out):
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), LOCAL_RANK=str(number), WORLD_SIZE="2")
    torch.set_num_threads(1)
    trainer.FSDPStrategy, init = OnCpu, FullyShardedDataParallel.__init__

    def on_cpu(self, module, *args, device_id, **more):
        init(self, module, *args, device_id=torch.device("cpu"), **more)

    FullyShardedDataParallel.__init__ = on_cpu
    torch.save(fit("fsdp", 2, 8), out / f"{number}.pt")


def test_two_processes_with_half_of_the_weights_each_take_the_steps_of_one(tmp_path):
    assert two(member, free_port(), tmp_path) == [0, 0]
    pair = [torch.load(tmp_path / f"{number}.pt") for number in range(2)]
    alone, val, _, (whole, _) = fit("auto", 1, 16)
    before = Single().state_dict()
    for weights, accuracy, _, (numbers, wrapped) in pair:
        assert wrapped
        assert 0.4 * whole < numbers < 0.6 * whole
        assert accuracy == val
        assert weights.keys() == alone.keys()
        for name, tensor in alone.items():
            torch.testing.assert_close(weights[name], tensor, rtol=1e-4, atol=1e-5)  # float32, 20 steps
            assert (tensor - before[name]).abs().max() > 1e-3
    assert sorted(pair[0][2] + pair[1][2]) == list(range(77))


@pytest.mark.parametrize(
    ("options", "strategy"),
    [
        ({}, "SingleDeviceStrategy"),
        ({"strategy": "ddp"}, "SingleDeviceStrategy"),
        ({"devices": 2}, "DDPStrategy"),
        ({"devices": 2, "strategy": "ddp"}, "DDPStrategy"),
        ({"nodes": 2}, "DDPStrategy"),
        ({"devices": 2, "strategy": "fsdp"}, "OnCpu"),
    ],
    ids=str,
)
def test_the_strategy_that_is_asked_for(options, strategy, monkeypatch):
    monkeypatch.setattr(trainer, "FSDPStrategy", OnCpu)
    made = make_trainer(Training(accelerator="cpu", **options), epochs=1)
    assert type(made.strategy).__name__ == strategy
    assert made.world_size == options.get("devices", 1) * options.get("nodes", 1)
